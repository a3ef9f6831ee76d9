-- name: standings
-- A whole ranking in its order, with names: read through a cursor. The fence (OFFSET 0) keeps it one index probe for
-- each user: who believes that a game filled since the last ANALYZE is empty would look through all its users for each.
SELECT e.user_id, e.score, u.display_name, u.country,
       rank() OVER scores AS rank_with_gaps,
       dense_rank() OVER scores AS dense_rank,
       row_number() OVER places AS place,
       count(*) OVER (PARTITION BY e.sort_key) AS ties
  FROM entries AS e
  LEFT JOIN LATERAL (
       SELECT display_name, country FROM users WHERE game_id = $4 AND user_id = e.user_id OFFSET 0) AS u ON true
 WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = $3
   AND NOT e.hidden AND e.deleted_at IS NULL
WINDOW scores AS (ORDER BY e.sort_key),
       places AS (ORDER BY e.sort_key, e.tiebreak, e.user_id)
 ORDER BY e.sort_key, e.tiebreak, e.user_id;
