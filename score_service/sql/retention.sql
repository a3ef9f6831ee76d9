-- name: oldest_period
-- The oldest month that is not closed, and the month of the database's clock.
SELECT closed_until, date_trunc('month', now() AT TIME ZONE 'UTC')::date AS this_month FROM history;

-- name: gate_all_exclusively
-- Hold the gates of all games alone, in id order.
SELECT count(pg_advisory_xact_lock(1, game_id)) FROM (SELECT game_id FROM games ORDER BY game_id) AS games;

-- name: close_periods
-- From now on sessions of months before the given one are neither accepted nor voidable.
UPDATE history SET closed_until = greatest(closed_until, $1);

-- name: boards_to_base
-- Boards whose base does not hold the closed months yet.
SELECT leaderboard_id FROM leaderboards WHERE base_until < $1 ORDER BY leaderboard_id;

-- name: lock_leaderboard
-- Keep a board's definition as it is for this transaction.
SELECT leaderboard_id FROM leaderboards WHERE leaderboard_id = $1 FOR UPDATE;

-- name: fold_base
-- Fold a board's base and the months closed since into its base.
INSERT INTO entry_base (leaderboard_id, generation, season, user_id, score, reached_at, session_id)
SELECT l.leaderboard_id, l.generation, f.season, f.user_id, f.score, f.reached_at, f.session_id
  FROM leaderboards AS l CROSS JOIN LATERAL fold(l, $2) AS f
 WHERE l.leaderboard_id = $1
ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
   SET score = EXCLUDED.score, reached_at = EXCLUDED.reached_at, session_id = EXCLUDED.session_id;

-- name: set_base_until
-- A board's base holds the months before the given one.
UPDATE leaderboards SET base_until = $2 WHERE leaderboard_id = $1;

-- name: detach_periods
-- Detach the partitions before a month; returns how many.
SELECT detach_periods($1);
