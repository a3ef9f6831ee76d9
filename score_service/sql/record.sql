-- name: enter_gate
-- Hold the gate of each game for this transaction, shared, in the order given; then read what it
-- protects: the rules' version of each game, and the database's clock.
SELECT * FROM enter_gate($1);

-- name: gate_exclusively
-- Hold the gate of one game alone: whatever changes the rules waits for running batches.
SELECT pg_advisory_xact_lock(1, $1);

-- name: record_sessions
-- Insert sessions that are not there yet; returns those it inserted. Sorted by the caller. Recorded
-- when the gate had been passed: that moment decides whether a season was still open.
INSERT INTO game_sessions (game_id, period, session_id, fingerprint, mode, played_at, recorded_at)
SELECT *, $7::timestamptz
  FROM unnest($1::int[], $2::date[], $3::uuid[], $4::bytea[], $5::text[], $6::timestamptz[])
ON CONFLICT DO NOTHING
RETURNING game_id, session_id;

-- name: classify_sessions
-- What is recorded of sessions that lost the insert. A statement of its own: in the insert's, a
-- loser that waited for the winner's commit would not see it. The fence (OFFSET 0) keeps it one index
-- probe of one partition for each session, whatever the planner believes of the tables' sizes.
SELECT wanted.game_id, wanted.session_id, s.fingerprint, s.played_at, s.recorded_at, s.voided
  FROM unnest($1::int[], $2::date[], $3::uuid[]) AS wanted (game_id, period, session_id)
 CROSS JOIN LATERAL (
       SELECT fingerprint, played_at, recorded_at, voided_at IS NOT NULL AS voided
         FROM game_sessions
        WHERE game_id = wanted.game_id AND period = wanted.period AND session_id = wanted.session_id
       OFFSET 0) AS s;

-- name: remains_of_sessions
-- What is left of sessions some of whose players were erased; asked only of replays of such.
SELECT wanted.game_id, wanted.session_id, s.mode,
       ARRAY(SELECT r.user_id FROM session_results AS r
              WHERE r.game_id = s.game_id AND r.period = s.period AND r.session_id = s.session_id
              ORDER BY r.user_id) AS user_ids,
       ARRAY(SELECT r.score FROM session_results AS r
              WHERE r.game_id = s.game_id AND r.period = s.period AND r.session_id = s.session_id
              ORDER BY r.user_id) AS scores,
       ARRAY(SELECT r.score FROM erased_results AS r
              WHERE r.game_id = s.game_id AND r.period = s.period AND r.session_id = s.session_id) AS erased
  FROM unnest($1::int[], $2::date[], $3::uuid[]) AS wanted (game_id, period, session_id)
 CROSS JOIN LATERAL (
       SELECT game_id, period, session_id, mode
         FROM game_sessions
        WHERE game_id = wanted.game_id AND period = wanted.period AND session_id = wanted.session_id
       OFFSET 0) AS s;

-- name: banned_users
-- Which of these users are banned; asked only where a game has bans at all.
SELECT wanted.game_id, wanted.user_id
  FROM unnest($1::int[], $2::text[]) AS wanted (game_id, user_id)
 WHERE EXISTS (
       SELECT FROM users AS u
        WHERE u.game_id = wanted.game_id AND u.user_id = wanted.user_id AND u.banned_at IS NOT NULL);

-- name: record_results
-- Append the results of a batch, its new users and its outbox row; drop outbox rows applied since the
-- last batch; merge contributions into entries of boards whose operator is sum or count, under their
-- row locks. What rows share (their session, their ranking) is sent once and picked by position.
-- Returns those entries, and a row with the outbox id alone.
WITH merged AS (
    INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
    SELECT ($1::int[])[at], ($2::int[])[at], ($3::bigint[])[at], user_id, sort_key * ($4::int[])[at], sort_key,
           CASE WHEN ($5::boolean[])[at] THEN abs(reached_at) ELSE 0 END, reached_at, session_id, coalesce(hidden, false)
      FROM unnest($6::int[], $7::text[], $8::bigint[], $9::bigint[], $10::uuid[], $11::boolean[])
           AS folds (at, user_id, sort_key, reached_at, session_id, hidden)
    ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
       SET score = CASE WHEN e.deleted_at IS NULL THEN e.score ELSE 0 END + EXCLUDED.score,
           sort_key = CASE WHEN e.deleted_at IS NULL THEN e.sort_key ELSE 0 END + EXCLUDED.sort_key,
           reached_at = CASE WHEN e.deleted_at IS NULL THEN greatest(e.reached_at, EXCLUDED.reached_at)
                             ELSE EXCLUDED.reached_at END,
           tiebreak = CASE WHEN EXCLUDED.tiebreak = 0 OR e.deleted_at IS NOT NULL THEN EXCLUDED.tiebreak
                           ELSE abs(greatest(e.reached_at, EXCLUDED.reached_at)) END,
           version = nextval('entry_version'),
           hidden = EXCLUDED.hidden,
           deleted_at = NULL
    RETURNING leaderboard_id, generation, user_id, season, sort_key, tiebreak, version, hidden, xmax = 0 AS is_new
), known AS (
    INSERT INTO users (game_id, user_id)
    SELECT * FROM unnest($12::int[], $13::text[])
    ON CONFLICT DO NOTHING
), appended AS (
    INSERT INTO session_results (game_id, period, session_id, user_id, score, played_at, metadata)
    SELECT ($14::int[])[at], ($15::date[])[at], ($16::uuid[])[at], user_id, score, ($17::timestamptz[])[at], metadata
      FROM unnest($18::int[], $19::text[], $20::bigint[], $21::jsonb[]) AS results (at, user_id, score, metadata)
), dropped AS (
    DELETE FROM outbox
     WHERE outbox_id IN (SELECT outbox_id FROM outbox WHERE outbox_id = ANY ($23::bigint[]) FOR UPDATE SKIP LOCKED)
), queued AS (
    INSERT INTO outbox (changes) VALUES ($22::jsonb) RETURNING outbox_id
)
SELECT outbox_id, NULL::int, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::boolean, NULL::boolean
  FROM queued
UNION ALL
SELECT * FROM merged;
