-- name: oldest_period
-- The oldest month that is not closed, and the month of the database's clock.
SELECT closed_until, date_trunc('month', now() AT TIME ZONE 'UTC')::date AS this_month FROM history;

-- name: gate_all_exclusively
-- Hold the gates of all games alone, in id order.
SELECT count(pg_advisory_xact_lock(1, game_id)) FROM (SELECT game_id FROM games ORDER BY game_id) AS games;

-- name: close_periods
-- From now on sessions of months before the given one are neither accepted nor voidable.
UPDATE history SET closed_until = greatest(closed_until, $1);

-- name: generations_to_base
-- Generations whose base does not hold the closed months yet; one being built has to have its own first.
SELECT g.leaderboard_id, g.generation
  FROM generations AS g
  LEFT JOIN builds AS b USING (leaderboard_id, generation)
 WHERE g.base_until < $1 AND (NOT g.building OR b.users_total IS NOT NULL)
 ORDER BY g.leaderboard_id, g.generation;

-- name: lock_leaderboard
-- Keep a board's definition as it is for this transaction.
SELECT leaderboard_id FROM leaderboards WHERE leaderboard_id = $1 FOR UPDATE;

-- name: lock_build
-- Keep a definition on its way where it is for this transaction.
SELECT leaderboard_id FROM builds WHERE leaderboard_id = $1 FOR UPDATE;

-- name: fold_base
-- Fold a generation's base and the months closed since into its base.
INSERT INTO entry_base (leaderboard_id, generation, season, user_id, score, reached_at, session_id)
SELECT l.leaderboard_id, l.generation, f.season, f.user_id, f.score, f.reached_at, f.session_id
  FROM definition($1, $2) AS l CROSS JOIN LATERAL fold(l, $3) AS f
ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
   SET score = EXCLUDED.score, reached_at = EXCLUDED.reached_at, session_id = EXCLUDED.session_id;

-- name: set_base_until
-- A generation's base holds the months before the given one.
WITH present AS (
    UPDATE leaderboards SET base_until = $3 WHERE leaderboard_id = $1 AND generation = $2
)
UPDATE builds SET base_until = $3 WHERE leaderboard_id = $1 AND generation = $2;

-- name: detach_periods
-- Detach the partitions before a month; returns how many.
SELECT detach_periods($1);
