-- name: fold_sum
-- Fold the whole history into the entries of one board: operator sum. Arguments: game, leaderboard,
-- generation, modes (null: all), least and greatest score, whether high wins, whether ties = first.
INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id)
SELECT $2, $3, 0, user_id, score, CASE WHEN $7 THEN -score ELSE score END, CASE WHEN $8 THEN abs(reached_at) ELSE 0 END, reached_at, session_id
  FROM (
        SELECT r.user_id, sum(r.score)::bigint AS score,
               max(CASE WHEN r.score <> 0 THEN (extract(epoch FROM r.played_at) * 1000000)::bigint ELSE -(extract(epoch FROM r.played_at) * 1000000)::bigint END) AS reached_at, NULL::uuid AS session_id
          FROM game_sessions AS s
          JOIN session_results AS r USING (game_id, period, session_id)
         WHERE s.game_id = $1 AND s.voided_at IS NULL
           AND ($4::text[] IS NULL OR s.mode = ANY ($4))
           AND r.score BETWEEN $5::bigint AND $6::bigint
         GROUP BY r.user_id
  ) AS folded;

-- name: fold_count
-- Fold the whole history into the entries of one board: operator count. Arguments: game, leaderboard,
-- generation, modes (null: all), least and greatest score, whether high wins, whether ties = first.
INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id)
SELECT $2, $3, 0, user_id, score, CASE WHEN $7 THEN -score ELSE score END, CASE WHEN $8 THEN abs(reached_at) ELSE 0 END, reached_at, session_id
  FROM (
        SELECT r.user_id, count(*) AS score,
               max((extract(epoch FROM r.played_at) * 1000000)::bigint) AS reached_at, NULL::uuid AS session_id
          FROM game_sessions AS s
          JOIN session_results AS r USING (game_id, period, session_id)
         WHERE s.game_id = $1 AND s.voided_at IS NULL
           AND ($4::text[] IS NULL OR s.mode = ANY ($4))
           AND r.score BETWEEN $5::bigint AND $6::bigint
         GROUP BY r.user_id
  ) AS folded;

-- name: fold_best
-- Fold the whole history into the entries of one board: operator best. Arguments: game, leaderboard,
-- generation, modes (null: all), least and greatest score, whether high wins, whether ties = first.
INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id)
SELECT $2, $3, 0, user_id, score, CASE WHEN $7 THEN -score ELSE score END, CASE WHEN $8 THEN abs(reached_at) ELSE 0 END, reached_at, session_id
  FROM (
        SELECT DISTINCT ON (r.user_id) r.user_id, r.score,
               (extract(epoch FROM r.played_at) * 1000000)::bigint AS reached_at, NULL::uuid AS session_id
          FROM game_sessions AS s
          JOIN session_results AS r USING (game_id, period, session_id)
         WHERE s.game_id = $1 AND s.voided_at IS NULL
           AND ($4::text[] IS NULL OR s.mode = ANY ($4))
           AND r.score BETWEEN $5::bigint AND $6::bigint
         ORDER BY r.user_id, CASE WHEN $7 THEN -r.score ELSE r.score END, r.played_at
  ) AS folded;

-- name: fold_latest
-- Fold the whole history into the entries of one board: operator latest. Arguments: game, leaderboard,
-- generation, modes (null: all), least and greatest score, whether high wins, whether ties = first.
INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id)
SELECT $2, $3, 0, user_id, score, CASE WHEN $7 THEN -score ELSE score END, CASE WHEN $8 THEN abs(reached_at) ELSE 0 END, reached_at, session_id
  FROM (
        SELECT DISTINCT ON (r.user_id) r.user_id, r.score,
               (extract(epoch FROM r.played_at) * 1000000)::bigint AS reached_at, r.session_id
          FROM game_sessions AS s
          JOIN session_results AS r USING (game_id, period, session_id)
         WHERE s.game_id = $1 AND s.voided_at IS NULL
           AND ($4::text[] IS NULL OR s.mode = ANY ($4))
           AND r.score BETWEEN $5::bigint AND $6::bigint
         ORDER BY r.user_id, r.played_at DESC, r.session_id DESC
  ) AS folded;

-- name: fold_out_of_range
-- How many entries of a generation left the range of exact integers.
SELECT count(*) FROM entries WHERE leaderboard_id = $1 AND generation = $2 AND abs(score) > $3;
