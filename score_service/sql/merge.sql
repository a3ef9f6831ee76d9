-- name: merge_best
-- Merge contributions into entries of boards whose operator is best, under their row locks: the
-- better score stays, between equal ones the earlier time.
INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
SELECT * FROM unnest($1::int[], $2::int[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::uuid[], $10::boolean[])
ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.score ELSE e.score END,
       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.sort_key ELSE e.sort_key END,
       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.reached_at ELSE e.reached_at END,
       version = nextval('entry_version'),
       hidden = EXCLUDED.hidden,
       deleted_at = NULL
RETURNING leaderboard_id, user_id, season, score, sort_key, tiebreak, version, hidden, xmax = 0 AS is_new;

-- name: merge_latest
-- The same for operator latest: the result with the greatest (played_at, session_id) stays.
INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
SELECT * FROM unnest($1::int[], $2::int[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::uuid[], $10::boolean[])
ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.score ELSE e.score END,
       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.sort_key ELSE e.sort_key END,
       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.reached_at ELSE e.reached_at END,
       session_id = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.session_id ELSE e.session_id END,
       version = nextval('entry_version'),
       hidden = EXCLUDED.hidden,
       deleted_at = NULL
RETURNING leaderboard_id, user_id, season, score, sort_key, tiebreak, version, hidden, xmax = 0 AS is_new;
