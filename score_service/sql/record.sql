-- name: enter_gate
-- Hold the gate of each game for this transaction, shared, in the order given; then read what it
-- protects: the rules' version of each game, and the database's clock. Outside a transaction: just read it.
SELECT * FROM enter_gate($1);

-- name: gate_exclusively
-- Hold the gate of one game alone: whatever changes the rules waits for running batches.
SELECT pg_advisory_xact_lock(1, $1);

-- name: classify_sessions
-- What is recorded of sessions that lost the insert, or were refused. A statement of its own: in the insert's,
-- a loser that waited for the winner's commit would not see it. The fence (OFFSET 0) keeps it one index
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

-- name: record_batch
-- Record a batch of sessions in one call, which is a transaction of its own; see the function.
SELECT * FROM record_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                           $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34);
