-- name: entries_of_ranking
-- Every entry of one ranking as the index keeps it, tombstones and hidden ones too (without a sort key).
SELECT user_id,
       version,
       CASE WHEN NOT hidden AND deleted_at IS NULL THEN sort_key END,
       tiebreak
  FROM entries
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3;
