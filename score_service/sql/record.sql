-- name: gate
-- Hold the gate of each game for this transaction, shared; in id order.
SELECT count(pg_advisory_xact_lock_shared(1, game_id))
  FROM (SELECT unnest($1::int[]) AS game_id ORDER BY 1) AS games;

-- name: gate_exclusively
-- Hold the gate of one game alone: whatever changes the rules waits for running batches.
SELECT pg_advisory_xact_lock(1, $1);

-- name: rules_in_force
-- What the gate protects, read after it: the rules' version of each game, and the database's clock.
SELECT g.game_id, g.game, g.rules_version, g.archived_at, clock_timestamp() AS now
  FROM unnest($1::int[]) AS wanted (game_id)
  JOIN games AS g USING (game_id);

-- name: record_sessions
-- Insert sessions that are not there yet; returns those it inserted. Sorted by the caller.
INSERT INTO game_sessions (game_id, period, session_id, fingerprint, mode, played_at)
SELECT *
  FROM unnest($1::int[], $2::date[], $3::uuid[], $4::bytea[], $5::text[], $6::timestamptz[])
ON CONFLICT DO NOTHING
RETURNING game_id, session_id;

-- name: classify_sessions
-- What is recorded of sessions that lost the insert. A statement of its own: in the insert's, a
-- loser that waited for the winner's commit would not see it.
SELECT s.game_id, s.session_id, s.fingerprint, s.played_at, s.voided_at IS NOT NULL AS voided
  FROM unnest($1::int[], $2::date[], $3::uuid[]) AS wanted (game_id, period, session_id)
  JOIN game_sessions AS s USING (game_id, period, session_id);

-- name: record_results
-- Insert users not known yet, results, and the outbox row; drop outbox rows applied since the last batch.
WITH known AS (
    INSERT INTO users (game_id, user_id)
    SELECT * FROM unnest($1::int[], $2::text[])
    ON CONFLICT DO NOTHING
), appended AS (
    INSERT INTO session_results (game_id, period, session_id, user_id, score, played_at, metadata)
    SELECT * FROM unnest($3::int[], $4::date[], $5::uuid[], $6::text[], $7::bigint[], $8::timestamptz[], $9::jsonb[])
), dropped AS (
    DELETE FROM outbox
     WHERE outbox_id IN (SELECT outbox_id FROM outbox WHERE outbox_id = ANY ($11::bigint[]) FOR UPDATE SKIP LOCKED)
)
INSERT INTO outbox (changes) VALUES ($10::jsonb)
RETURNING outbox_id;
