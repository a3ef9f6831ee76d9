-- name: session
-- One recorded session with its results, best id order; a row for each result.
SELECT s.session_id, s.mode, s.played_at, s.recorded_at, s.voided_at, r.user_id, r.score, r.metadata
  FROM game_sessions AS s
  JOIN session_results AS r USING (game_id, period, session_id)
 WHERE s.game_id = $1 AND s.period = $2 AND s.session_id = $3
 ORDER BY r.user_id;

-- name: entries_of_users
-- Some users' entries of some rankings as they stand now; no sort_key when hidden or deleted.
SELECT e.leaderboard_id, e.generation, e.season, e.user_id, e.version, e.score, e.tiebreak,
       CASE WHEN NOT e.hidden AND e.deleted_at IS NULL THEN e.sort_key END AS sort_key
  FROM unnest($1::int[], $2::int[], $3::bigint[], $4::text[])
       AS wanted (leaderboard_id, generation, season, user_id)
  JOIN entries AS e USING (leaderboard_id, generation, season, user_id);
