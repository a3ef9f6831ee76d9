-- name: webhook_of_leaderboard
-- Where a leaderboard's sealed seasons are announced.
SELECT w.url
  FROM webhooks AS w JOIN leaderboards AS l USING (leaderboard_id)
 WHERE l.game_id = $1 AND l.leaderboard = $2;

-- name: put_webhook
-- Announce a leaderboard's sealed seasons somewhere, from now on; what waited to be tried again elsewhere is due.
WITH put AS (
    INSERT INTO webhooks AS w (leaderboard_id, url)
    SELECT leaderboard_id, $3 FROM leaderboards WHERE game_id = $1 AND leaderboard = $2
    ON CONFLICT (leaderboard_id) DO UPDATE SET url = EXCLUDED.url, since = EXCLUDED.since WHERE w.url <> EXCLUDED.url
    RETURNING leaderboard_id
), due AS (
    UPDATE announcements AS a SET next_at = clock_timestamp()
      FROM put
     WHERE a.leaderboard_id = put.leaderboard_id AND a.status = 'waiting'
)
SELECT EXISTS (SELECT FROM put);

-- name: delete_webhook
-- Announce them nowhere.
DELETE FROM webhooks
 WHERE leaderboard_id = (SELECT leaderboard_id FROM leaderboards WHERE game_id = $1 AND leaderboard = $2);

-- name: announce_season
-- Have a season that was just sealed announced, if the leaderboard has a webhook, the season closed since it has,
-- and the standings are not those that were sealed last.
INSERT INTO announcements (leaderboard_id, generation, season, digest)
SELECT s.leaderboard_id, s.generation, s.season, s.digest
  FROM seasons AS s JOIN webhooks AS w USING (leaderboard_id)
 WHERE s.leaderboard_id = $1 AND s.generation = $2 AND s.season = $3
   AND s.closes_at > w.since
   AND s.digest IS DISTINCT FROM s.previous_digests -> -1 ->> 'digest';

-- name: claim_announcements
-- Take announcements that are due, of each leaderboard the oldest only, and none while that waits to be tried again:
-- seasons are announced in the order they were sealed in, which is that of their closing. Another replica skips them,
-- until $2 has passed and whoever took them must have died. With what is to be told now: no `url` when there is
-- nothing to tell any more, `sealed_digest` null while the season waits to be sealed anew.
WITH due AS (
    SELECT announcement_id
      FROM announcements AS a
     WHERE status = 'waiting' AND next_at <= clock_timestamp()
       AND NOT EXISTS (SELECT FROM announcements AS b
                        WHERE b.leaderboard_id = a.leaderboard_id AND b.announcement_id < a.announcement_id
                          AND b.status = 'waiting')
     ORDER BY next_at, announcement_id
     LIMIT $1
       FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE announcements AS a
       SET attempts = attempts + 1, next_at = clock_timestamp() + $2::interval
      FROM due
     WHERE a.announcement_id = due.announcement_id
    RETURNING a.*
)
SELECT t.announcement_id, t.event_id::text, t.leaderboard_id, t.generation, t.season, t.digest, t.attempts,
       extract(epoch FROM clock_timestamp() - t.created_at)::float8 AS age,
       g.game, l.leaderboard, w.url, s.ends_at, s.sealed_at, s.total, s.digest AS sealed_digest,
       s.previous_digests -> -1 ->> 'digest' AS previous_digest
  FROM taken AS t
  LEFT JOIN leaderboards AS l ON l.leaderboard_id = t.leaderboard_id AND l.generation = t.generation
  LEFT JOIN games AS g ON g.game_id = l.game_id
  LEFT JOIN webhooks AS w ON w.leaderboard_id = l.leaderboard_id
  LEFT JOIN seasons AS s ON s.leaderboard_id = t.leaderboard_id AND s.generation = t.generation AND s.season = t.season
 ORDER BY t.announcement_id;

-- name: best_of_season
-- The first places of sealed standings, without those who were banned since.
SELECT f.rank, f.user_id, f.score
  FROM final_standings AS f
 WHERE f.leaderboard_id = $1 AND f.generation = $2 AND f.season = $3
   AND NOT EXISTS (SELECT FROM entries AS e
                    WHERE e.leaderboard_id = f.leaderboard_id AND e.generation = f.generation
                      AND e.season = f.season AND e.user_id = f.user_id AND e.hidden)
 ORDER BY f.place
 LIMIT $4;

-- name: settle_announcement
-- Note what came of an attempt ($2), unless another replica has taken over since; it is tried again after $4.
UPDATE announcements
   SET status = $3, error = $5,
       next_at = CASE WHEN $3 = 'waiting' THEN clock_timestamp() + $4::interval ELSE next_at END,
       ended_at = CASE WHEN $3 <> 'waiting' THEN clock_timestamp() END
 WHERE announcement_id = $1 AND attempts = $2 AND status = 'waiting';

-- name: waiting_announcements
-- How many announcements wait, and the age of the oldest in seconds.
SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age
  FROM announcements
 WHERE status = 'waiting';

-- name: announcements_of_leaderboard
-- The newest announcements of a leaderboard.
SELECT a.event_id::text, a.season, a.digest, a.status, a.attempts, a.created_at,
       CASE WHEN a.status = 'waiting' THEN a.next_at END AS next_at, a.ended_at, a.error
  FROM announcements AS a JOIN leaderboards AS l USING (leaderboard_id)
 WHERE l.game_id = $1 AND l.leaderboard = $2
 ORDER BY a.announcement_id DESC
 LIMIT $3;

-- name: purge_announcements
-- Forget announcements that ended long ago.
DELETE FROM announcements WHERE status <> 'waiting' AND ended_at < now() - $1::interval;
