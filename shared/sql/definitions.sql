-- name: game_with_boards
-- One game and its leaderboards, a row for each (or one row without, when it has none), with the definition that
-- is on its way to it, if one is.
SELECT g.game_id,
       g.game,
       g.title AS game_title,
       g.archived_at,
       g.rules_version,
       l.leaderboard_id,
       l.leaderboard,
       l.generation,
       l.title,
       l.operator,
       l.sort_order,
       l.ties,
       l.schedule,
       l.timezone,
       l.modes,
       l.min_score,
       l.max_score,
       l.index_shards,
       l.index_layout,
       l.status,
       b.generation AS next_generation,
       b.title AS next_title,
       b.operator AS next_operator,
       b.sort_order AS next_sort_order,
       b.ties AS next_ties,
       b.schedule AS next_schedule,
       b.timezone AS next_timezone,
       b.modes AS next_modes,
       b.min_score AS next_min_score,
       b.max_score AS next_max_score,
       b.index_shards AS next_index_shards,
       b.users_done,
       b.users_total,
       b.failure_code,
       b.failure
  FROM games AS g
  LEFT JOIN leaderboards AS l USING (game_id)
  LEFT JOIN builds AS b USING (leaderboard_id)
 WHERE g.game = $1
 ORDER BY l.leaderboard COLLATE "C";
