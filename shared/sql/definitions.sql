-- name: game_with_boards
-- One game and its leaderboards, a row for each (or one row without, when it has none).
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
       l.status
  FROM games AS g
  LEFT JOIN leaderboards AS l USING (game_id)
 WHERE g.game = $1
 ORDER BY l.leaderboard COLLATE "C";
