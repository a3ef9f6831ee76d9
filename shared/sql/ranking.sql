-- name: entries_of_ranking
-- Every entry of one ranking as the index keeps it, tombstones and hidden ones too (without a sort key). Best
-- first: a sorted set takes what comes last in half the time of what comes in between.
SELECT user_id,
       version,
       CASE WHEN NOT hidden AND deleted_at IS NULL THEN sort_key END,
       tiebreak
  FROM entries
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
 ORDER BY sort_key;

-- name: take_room
-- A load of millions sorts them, and that takes longer, and more memory, than any other statement may.
SELECT set_config('statement_timeout', '600000', true), set_config('work_mem', '64MB', true);
