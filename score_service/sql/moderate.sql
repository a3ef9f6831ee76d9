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
-- Put some users' entries of one generation of a board (of one season, or of all) at what the history says;
-- where it says nothing, a tombstone.
WITH folded AS MATERIALIZED (
    SELECT f.* FROM definition($1, $2) AS l CROSS JOIN LATERAL fold_by_key(l, $3::text[], $4::bigint) AS f
), wanted AS (
    SELECT e.season, e.user_id AS who, f.user_id, f.score, f.reached_at, f.session_id
      FROM entries AS e
      LEFT JOIN folded AS f ON f.season = e.season AND f.user_id = e.user_id
     WHERE e.leaderboard_id = $1 AND e.generation = $2
       AND e.user_id = ANY ($3::text[]) AND ($4 IS NULL OR e.season = $4) AND e.deleted_at IS NULL
)
UPDATE entries AS e
   SET score = coalesce(f.score, 0),
       sort_key = CASE WHEN l.sort_order = 'desc' THEN -coalesce(f.score, 0) ELSE coalesce(f.score, 0) END,
       reached_at = coalesce(f.reached_at, 0),
       tiebreak = CASE WHEN l.ties = 'first' THEN abs(coalesce(f.reached_at, 0)) ELSE 0 END,
       session_id = f.session_id,
       version = nextval('entry_version'),
       deleted_at = CASE WHEN f.user_id IS NULL THEN now() END
  FROM definition($1, $2) AS l, wanted AS f
 WHERE e.leaderboard_id = l.leaderboard_id AND e.generation = l.generation
   AND e.season = f.season AND e.user_id = f.who AND e.deleted_at IS NULL
RETURNING e.leaderboard_id, e.generation, e.user_id, e.season, e.sort_key, e.tiebreak, e.version,
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
-- Hide, or show, all of a user's entries of a game, in what is being built too.
UPDATE entries AS e
   SET hidden = $3, version = nextval('entry_version')
  FROM generations AS g
 WHERE g.game_id = $1
   AND e.leaderboard_id = g.leaderboard_id AND e.generation = g.generation
   AND e.user_id = $2 AND e.hidden <> $3
RETURNING e.leaderboard_id, e.generation, e.user_id, e.season, e.sort_key, e.tiebreak, e.version,
          e.hidden OR e.deleted_at IS NOT NULL AS hidden, false AS is_new;

-- name: erase_user
-- Take a user out of results, profiles and the audit; returns the id the audit has instead, or null.
SELECT erase_user($1, $2);

-- name: lock_leaderboards
-- Keep a game's definitions as they are; waits for a fold of closed months into a base.
SELECT leaderboard_id FROM leaderboards WHERE game_id = $1 ORDER BY leaderboard_id FOR UPDATE;

-- name: erase_entries
-- Leave tombstones of all a user's entries of a game; base and snapshots need none.
WITH generations AS (
    SELECT leaderboard_id, generate_series(1, greatest(generation, last_generation)) AS generation, generation AS present
      FROM leaderboards
     WHERE game_id = $1
), base AS (
    DELETE FROM entry_base AS b USING generations AS g
     WHERE b.leaderboard_id = g.leaderboard_id AND b.generation = g.generation AND b.user_id = $2
), snapshot AS (
    DELETE FROM snapshot_ranks AS r USING generations AS g, snapshots AS s
     WHERE s.leaderboard_id = g.leaderboard_id AND s.generation = g.generation
       AND r.leaderboard_id = s.leaderboard_id AND r.generation = s.generation AND r.season = s.season
       AND r.day = s.day AND r.user_id = $2
), tombstones AS (
    UPDATE entries AS e
       SET score = 0, sort_key = 0, tiebreak = 0, reached_at = 0, session_id = NULL, hidden = false,
           deleted_at = now(), version = nextval('entry_version')
      FROM generations AS g
     WHERE e.leaderboard_id = g.leaderboard_id AND e.generation = g.generation AND e.user_id = $2
    RETURNING e.leaderboard_id, e.generation, e.user_id, e.season, e.sort_key, e.tiebreak, e.version, g.generation = g.present AS shown
)
SELECT leaderboard_id, generation, user_id, season, sort_key, tiebreak, version, true AS hidden, false AS is_new
  FROM tombstones
 WHERE shown;

-- name: note_erasure
-- Have an erased user's last traces removed later.
INSERT INTO erasures (game_id, user_id) VALUES ($1, $2);

-- name: claim_erasures
-- Take erasures whose tombstones have done their work; another replica skips them.
SELECT erasure_id, game_id, user_id, erased_at
  FROM erasures
 WHERE rankings IS NULL AND erased_at < now() - $1::interval
 ORDER BY erasure_id LIMIT $2 FOR UPDATE SKIP LOCKED;

-- name: delete_erased
-- Delete an erased user's tombstones and what a snapshot under way then wrote; note where they were.
WITH generations AS (
    SELECT leaderboard_id, generate_series(1, greatest(generation, last_generation)) AS generation
      FROM leaderboards
     WHERE game_id = $2
), snapshot AS (
    DELETE FROM snapshot_ranks AS r USING generations AS g, snapshots AS s
     WHERE s.leaderboard_id = g.leaderboard_id AND s.generation = g.generation
       AND r.leaderboard_id = s.leaderboard_id AND r.generation = s.generation AND r.season = s.season
       AND r.day = s.day AND s.day < ($4::timestamptz AT TIME ZONE 'UTC')::date AND r.user_id = $3
), gone AS (
    DELETE FROM entries AS e USING generations AS g
     WHERE e.leaderboard_id = g.leaderboard_id AND e.generation = g.generation AND e.user_id = $3
       AND e.deleted_at <= $4
    RETURNING e.leaderboard_id, e.generation, e.season, e.version
)
UPDATE erasures
   SET rankings = (SELECT coalesce(jsonb_agg(jsonb_build_array(leaderboard_id, generation, season, version)), '[]') FROM gone)
 WHERE erasure_id = $1;

-- name: claim_traces
-- Take erasures whose tombstones went a while ago: no copy made before can still be written.
SELECT erasure_id, game_id, user_id, rankings
  FROM erasures
 WHERE rankings IS NOT NULL AND erased_at < now() - $1::interval
 ORDER BY erasure_id LIMIT $2 FOR UPDATE SKIP LOCKED;

-- name: drop_erasures
-- Nothing is left of these users.
DELETE FROM erasures WHERE erasure_id = ANY ($1::bigint[]);

-- name: purge_erased_results
-- Erased results of months that were detached go too.
DELETE FROM erased_results AS r USING history AS h WHERE r.period >= h.first_period AND r.period < h.closed_until;

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
