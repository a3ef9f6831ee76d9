-- name: fold_entries
-- Fold a board's base and history into the entries of its generation, which has none yet.
INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
SELECT l.leaderboard_id, l.generation, f.season, f.user_id, f.score,
       CASE WHEN l.sort_order = 'desc' THEN -f.score ELSE f.score END,
       CASE WHEN l.ties = 'first' THEN abs(f.reached_at) ELSE 0 END,
       f.reached_at, f.session_id,
       EXISTS (SELECT FROM users AS u WHERE u.game_id = l.game_id AND u.user_id = f.user_id AND u.banned_at IS NOT NULL)
  FROM leaderboards AS l CROSS JOIN LATERAL fold(l) AS f
 WHERE l.leaderboard_id = $1;

-- name: fold_out_of_range
-- How many entries of a generation left the range of exact integers.
SELECT count(*) FROM entries WHERE leaderboard_id = $1 AND generation = $2 AND abs(score) > $3;

-- name: carry_base
-- A generation whose contributions are the same as the last one's starts from the same base.
INSERT INTO entry_base (leaderboard_id, generation, season, user_id, score, reached_at, session_id)
SELECT leaderboard_id, generation + 1, season, user_id, score, reached_at, session_id
  FROM entry_base
 WHERE leaderboard_id = $1 AND generation = $2;
