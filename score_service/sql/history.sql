-- name: session
-- One recorded session with its results, best id order; a row for each result.
SELECT s.session_id, s.mode, s.played_at, s.recorded_at, s.voided_at, r.user_id, r.score, r.metadata
  FROM game_sessions AS s
  JOIN session_results AS r USING (game_id, period, session_id)
 WHERE s.game_id = $1 AND s.period = $2 AND s.session_id = $3
 ORDER BY r.user_id;

-- name: entries_of_users
-- Some users' entries of some rankings as they stand now; no sort_key when hidden or deleted. One
-- index probe for each, whatever the planner believes (OFFSET 0).
SELECT wanted.leaderboard_id, wanted.generation, wanted.season, wanted.user_id, e.version, e.score, e.tiebreak, e.sort_key
  FROM unnest($1::int[], $2::int[], $3::bigint[], $4::text[])
       AS wanted (leaderboard_id, generation, season, user_id)
 CROSS JOIN LATERAL (
       SELECT version, score, tiebreak,
              CASE WHEN NOT hidden AND deleted_at IS NULL THEN sort_key END AS sort_key
         FROM entries
        WHERE leaderboard_id = wanted.leaderboard_id AND generation = wanted.generation
          AND season = wanted.season AND user_id = wanted.user_id
       OFFSET 0) AS e;
