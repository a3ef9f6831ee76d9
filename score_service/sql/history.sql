-- name: session
-- One recorded session with its results in id order, those of erased players too; a row for each.
SELECT s.session_id, s.mode, s.played_at, s.recorded_at, s.voided_at, r.user_id, r.score, r.metadata
  FROM game_sessions AS s
 CROSS JOIN LATERAL (
       SELECT user_id, score, metadata
         FROM session_results
        WHERE game_id = s.game_id AND period = s.period AND session_id = s.session_id
        UNION ALL
       SELECT anonymous_id, score, NULL
         FROM erased_results
        WHERE game_id = s.game_id AND period = s.period AND session_id = s.session_id) AS r
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

-- name: find_sessions
-- Sessions of a game played in [$2, $3), newest first, from behind a position on.
SELECT session_id, mode, played_at, recorded_at, voided_at, void_reason
  FROM game_sessions
 WHERE game_id = $1
   AND played_at >= $2 AND played_at < $3
   AND (played_at, session_id) < ($4, $5)
 ORDER BY played_at DESC, session_id DESC
 LIMIT $6;

-- name: find_sessions_of_user
-- The same, of those a user took part in.
SELECT s.session_id, s.mode, s.played_at, s.recorded_at, s.voided_at, s.void_reason
  FROM (SELECT period, session_id, played_at
          FROM session_results
         WHERE game_id = $1 AND user_id = $7
           AND played_at >= $2 AND played_at < $3
           AND (played_at, session_id) < ($4, $5)
         ORDER BY played_at DESC, session_id DESC
         LIMIT $6) AS r
 CROSS JOIN LATERAL (
       SELECT session_id, mode, played_at, recorded_at, voided_at, void_reason
         FROM game_sessions
        WHERE game_id = $1 AND period = r.period AND session_id = r.session_id
       OFFSET 0) AS s
 ORDER BY s.played_at DESC, s.session_id DESC;

-- name: user_record
-- What is kept of a user besides results.
SELECT user_id, display_name, country, avatar_url, banned_at, ban_reason, created_at
  FROM users
 WHERE game_id = $1 AND user_id = $2;

-- name: entries_of_user
-- All of a user's entries of a game.
SELECT l.leaderboard, e.season, e.score
  FROM leaderboards AS l
  JOIN entries AS e USING (leaderboard_id, generation)
 WHERE l.game_id = $1 AND e.user_id = $2 AND e.deleted_at IS NULL
 ORDER BY l.leaderboard, e.season;

-- name: results_of_user
-- A user's results, newest first, from behind a position on.
SELECT session_id, played_at, score, metadata
  FROM session_results
 WHERE game_id = $1 AND user_id = $2 AND (played_at, session_id) < ($3, $4)
 ORDER BY played_at DESC, session_id DESC
 LIMIT $5;

-- name: audit_of_game
-- What was done by hand in a game, newest first, from before a line on.
SELECT audit_id, at, key_id, action, subject, reason
  FROM audit_log
 WHERE game_id = $1 AND audit_id < $2
 ORDER BY audit_id DESC
 LIMIT $3;

-- name: audit_of_subject
-- What was done by hand to a user.
SELECT at, key_id, action, reason
  FROM audit_log
 WHERE game_id = $1 AND subject = $2 AND action IN ('ban', 'unban', 'export')
 ORDER BY audit_id;
