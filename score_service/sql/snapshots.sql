-- name: take_turn
-- Let one replica take snapshots at a time: held by the connection until `end_turn`.
SELECT pg_try_advisory_lock(2, 0);

-- name: end_turn
-- Let the others.
SELECT pg_advisory_unlock(2, 0);

-- name: due_snapshot
-- A ranking that has no snapshot of yesterday (UTC) yet: one still open, that was there then.
SELECT l.game_id, l.leaderboard_id, l.generation, s.season, today.day - 1 AS day
  FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS day) AS today
 CROSS JOIN leaderboards AS l
  JOIN games AS g USING (game_id)
 CROSS JOIN LATERAL (
       SELECT 0::bigint AS season WHERE l.schedule IS NULL
        UNION ALL
       SELECT season
         FROM seasons
        WHERE l.schedule IS NOT NULL AND leaderboard_id = l.leaderboard_id AND generation = l.generation
          AND sealed_at IS NULL AND to_timestamp(season) < today.day AT TIME ZONE 'UTC') AS s
 WHERE g.archived_at IS NULL AND l.status = 'ready' AND l.created_at < today.day AT TIME ZONE 'UTC'
   AND NOT EXISTS (
       SELECT FROM snapshots AS had
        WHERE had.leaderboard_id = l.leaderboard_id AND had.generation = l.generation
          AND had.season = s.season AND had.day = today.day - 1)
 LIMIT 1;

-- name: version_now
-- The greatest version given out: under the gate alone, every one of the game's entries up to it is committed.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM entry_version;

-- name: allow_minutes
-- A big ranking may take longer than statements usually do.
SELECT set_config('statement_timeout', '600s', true);

-- name: take_snapshot
-- Note where everyone stands whose entry changed since the snapshot before; at once, or not at all.
WITH ranked AS (
    SELECT e.user_id, e.score, e.version,
           CASE l.ties WHEN 'competition' THEN rank() OVER scores
                       WHEN 'dense' THEN dense_rank() OVER scores
                       ELSE row_number() OVER places END AS rank
      FROM leaderboards AS l
      JOIN entries AS e USING (leaderboard_id, generation)
     WHERE l.leaderboard_id = $1 AND l.generation = $2 AND e.season = $3
       AND NOT e.hidden AND e.deleted_at IS NULL
    WINDOW scores AS (ORDER BY e.sort_key),
           places AS (ORDER BY e.sort_key, e.tiebreak, e.user_id)
), before AS (
    SELECT coalesce(max(version_until), 0) AS version
      FROM snapshots
     WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
), noted AS (
    INSERT INTO snapshots (leaderboard_id, generation, season, day, version_until, total)
    SELECT $1, $2, $3, $4, $5, count(*) FROM ranked
)
INSERT INTO snapshot_ranks (leaderboard_id, generation, season, day, user_id, rank, score)
SELECT $1, $2, $3, $4, r.user_id, r.rank, r.score
  FROM ranked AS r, before
 WHERE r.version > before.version;

-- name: outdated_snapshot
-- A snapshot older than what is kept.
SELECT leaderboard_id, generation, season, day
  FROM snapshots
 WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::int
 LIMIT 1;

-- name: delete_ranks
-- Delete some ranks of one snapshot.
DELETE FROM snapshot_ranks
 WHERE (leaderboard_id, generation, season, day, user_id) IN (
       SELECT leaderboard_id, generation, season, day, user_id
         FROM snapshot_ranks
        WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND day = $4
        LIMIT $5);

-- name: delete_discarded_ranks
-- Delete some ranks of a discarded generation.
DELETE FROM snapshot_ranks
 WHERE (leaderboard_id, generation, season, day, user_id) IN (
       SELECT leaderboard_id, generation, season, day, user_id
         FROM snapshot_ranks
        WHERE leaderboard_id = $1 AND generation = $2
        LIMIT $3);

-- name: drop_snapshot
-- A snapshot has no ranks left.
DELETE FROM snapshots WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND day = $4;
