-- name: void_session
-- Mark a session void, unless it is; returns what is needed to find the entries it counted for.
UPDATE game_sessions
   SET voided_at = now(), void_reason = $4
 WHERE game_id = $1 AND period = $2 AND session_id = $3 AND voided_at IS NULL
RETURNING mode, played_at, recorded_at;

-- name: users_of_session
-- Who took part in a session, in id order.
SELECT user_id FROM session_results WHERE game_id = $1 AND period = $2 AND session_id = $3 ORDER BY user_id;

-- name: lock_entries
-- Lock some users' entries of one board (of one season, or of all) in key order, before they are folded anew in a statement of
-- its own (in this one the fold would read what was there before the lock was got).
SELECT count(*)
  FROM (SELECT FROM entries
         WHERE leaderboard_id = $1 AND generation = $2 AND user_id = ANY ($3::text[])
           AND ($4::bigint IS NULL OR season = $4)
         ORDER BY season, user_id
           FOR UPDATE) AS locked;

-- name: refold_entries
-- Put some users' entries of one board (of one season, or of all) at what the history says; where it says
-- nothing, a tombstone.
WITH folded AS (
    SELECT f.*
      FROM leaderboards AS l CROSS JOIN LATERAL fold(l, 'infinity', $2::text[], $3::bigint) AS f
     WHERE l.leaderboard_id = $1
), wanted AS (
    SELECT e.season, e.user_id AS who, f.user_id, f.score, f.reached_at, f.session_id
      FROM leaderboards AS l
      JOIN entries AS e USING (leaderboard_id, generation)
      LEFT JOIN folded AS f ON f.season = e.season AND f.user_id = e.user_id
     WHERE l.leaderboard_id = $1 AND e.user_id = ANY ($2::text[]) AND ($3 IS NULL OR e.season = $3)
       AND e.deleted_at IS NULL
)
UPDATE entries AS e
   SET score = coalesce(f.score, 0),
       sort_key = CASE WHEN l.sort_order = 'desc' THEN -coalesce(f.score, 0) ELSE coalesce(f.score, 0) END,
       reached_at = coalesce(f.reached_at, 0),
       tiebreak = CASE WHEN l.ties = 'first' THEN abs(coalesce(f.reached_at, 0)) ELSE 0 END,
       session_id = f.session_id,
       version = nextval('entry_version'),
       deleted_at = CASE WHEN f.user_id IS NULL THEN now() END
  FROM leaderboards AS l, wanted AS f
 WHERE l.leaderboard_id = $1
   AND e.leaderboard_id = l.leaderboard_id AND e.generation = l.generation
   AND e.season = f.season AND e.user_id = f.who AND e.deleted_at IS NULL
RETURNING e.leaderboard_id, e.user_id, e.season, e.sort_key, e.tiebreak, e.version,
          e.hidden OR e.deleted_at IS NOT NULL AS hidden, false AS is_new;

-- name: ban_user
-- Ban a user, or change the reason.
UPDATE users
   SET banned_at = coalesce(banned_at, now()), ban_reason = $3
 WHERE game_id = $1 AND user_id = $2
RETURNING user_id, banned_at, ban_reason;

-- name: unban_user
-- Lift a ban.
UPDATE users
   SET banned_at = NULL, ban_reason = NULL
 WHERE game_id = $1 AND user_id = $2
RETURNING user_id, banned_at, ban_reason;

-- name: note_bans
-- Note whether a game has bans: only then do batches ask who is banned.
UPDATE games
   SET has_bans = EXISTS (SELECT FROM users AS u WHERE u.game_id = $1 AND u.banned_at IS NOT NULL)
 WHERE game_id = $1;

-- name: hide_entries
-- Hide, or show, all of a user's entries of a game.
UPDATE entries AS e
   SET hidden = $3, version = nextval('entry_version')
  FROM leaderboards AS l
 WHERE l.game_id = $1
   AND e.leaderboard_id = l.leaderboard_id AND e.generation = l.generation
   AND e.user_id = $2 AND e.hidden <> $3
RETURNING e.leaderboard_id, e.user_id, e.season, e.sort_key, e.tiebreak, e.version,
          e.hidden OR e.deleted_at IS NOT NULL AS hidden, false AS is_new;

-- name: queue
-- Queue changed entries for the outbox worker, should we not live to apply them.
INSERT INTO outbox (changes) VALUES ($1::jsonb) RETURNING outbox_id;

-- name: audit
-- Write down who did what by hand.
INSERT INTO audit_log (game_id, key_id, action, subject, reason) VALUES ($1, $2, $3, $4, $5);

-- name: purge_tombstones
-- Forget deleted entries an hour later: by then no apply of theirs can still be on its way.
DELETE FROM entries
 WHERE (leaderboard_id, generation, season, user_id) IN (
       SELECT leaderboard_id, generation, season, user_id
         FROM entries
        WHERE deleted_at < now() - interval '1 hour'
        LIMIT $1);
