-- name: merge_best
-- Merge contributions into entries of boards whose operator is best, under their row locks: the
-- better score stays, between equal ones the earlier time.
INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
SELECT ($1::int[])[at], ($2::int[])[at], ($3::bigint[])[at], user_id, sort_key * ($4::int[])[at], sort_key,
       CASE WHEN ($5::boolean[])[at] THEN abs(reached_at) ELSE 0 END, reached_at, session_id, coalesce(hidden, false)
  FROM unnest($6::int[], $7::text[], $8::bigint[], $9::bigint[], $10::uuid[], $11::boolean[])
       AS folds (at, user_id, sort_key, reached_at, session_id, hidden)
ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.score ELSE e.score END,
       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.sort_key ELSE e.sort_key END,
       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.reached_at ELSE e.reached_at END,
       version = nextval('entry_version'),
       hidden = EXCLUDED.hidden,
       deleted_at = NULL
RETURNING leaderboard_id, generation, user_id, season, sort_key, tiebreak, version, hidden, xmax = 0 AS is_new;

-- name: merge_latest
-- The same for operator latest: the result with the greatest (played_at, session_id) stays.
INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
SELECT ($1::int[])[at], ($2::int[])[at], ($3::bigint[])[at], user_id, sort_key * ($4::int[])[at], sort_key,
       CASE WHEN ($5::boolean[])[at] THEN abs(reached_at) ELSE 0 END, reached_at, session_id, coalesce(hidden, false)
  FROM unnest($6::int[], $7::text[], $8::bigint[], $9::bigint[], $10::uuid[], $11::boolean[])
       AS folds (at, user_id, sort_key, reached_at, session_id, hidden)
ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.score ELSE e.score END,
       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.sort_key ELSE e.sort_key END,
       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.reached_at ELSE e.reached_at END,
       session_id = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.session_id ELSE e.session_id END,
       version = nextval('entry_version'),
       hidden = EXCLUDED.hidden,
       deleted_at = NULL
RETURNING leaderboard_id, generation, user_id, season, sort_key, tiebreak, version, hidden, xmax = 0 AS is_new;
