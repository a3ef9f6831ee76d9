-- name: entries_from
-- The next entries of a ranking in user order, tombstones too, as the index should hold them.
SELECT user_id,
       version,
       CASE WHEN NOT hidden AND deleted_at IS NULL THEN sort_key END,
       tiebreak
  FROM entries
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND user_id > $4
 ORDER BY user_id
 LIMIT $5;

-- name: entries_named
-- Some entries of a ranking, the same way.
SELECT user_id,
       version,
       CASE WHEN NOT hidden AND deleted_at IS NULL THEN sort_key END,
       tiebreak
  FROM entries
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND user_id = ANY ($4::text[]);

-- name: count_of_ranking
-- How many are ranked.
SELECT count(*)
  FROM entries
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
   AND NOT hidden AND deleted_at IS NULL;

-- name: oldest_changes
-- What the oldest committed batches changed that should have reached the index by now.
SELECT changes
  FROM outbox
 WHERE created_at < now() - $1::interval
 ORDER BY outbox_id
 LIMIT $2;
