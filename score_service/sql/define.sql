-- name: put_game
-- Create a game, rename it, or bring it back from the archive; says which.
INSERT INTO games AS g (game, title) VALUES ($1, $2)
ON CONFLICT (game) DO UPDATE
   SET title = EXCLUDED.title, archived_at = NULL, rules_version = g.rules_version + 1
RETURNING game_id, game, title, created_at, archived_at, xmax = 0 AS is_new;

-- name: list_games
-- A page of games in id order, archived ones too.
SELECT game, title, created_at, archived_at
  FROM games
 WHERE game > $1
 ORDER BY game
 LIMIT $2;

-- name: archive_game
-- Hide a game; its history and boards stay.
UPDATE games
   SET archived_at = coalesce(archived_at, now()), rules_version = rules_version + 1
 WHERE game_id = $1
RETURNING game, title, created_at, archived_at;

-- name: bump_rules
-- Tell every replica that what a result counts for has changed.
UPDATE games SET rules_version = rules_version + 1 WHERE game_id = $1;

-- name: leaderboard
-- A leaderboard's definition in force; kept as it is for this transaction.
SELECT * FROM leaderboards WHERE game_id = $1 AND leaderboard = $2 FOR UPDATE;

-- name: build_of_leaderboard
-- The definition on its way to a leaderboard, if there is one; kept as it is for this transaction.
SELECT * FROM builds WHERE leaderboard_id = $1 FOR UPDATE;

-- name: leaderboard_as_told
-- A leaderboard, and the definition on its way to it.
SELECT l.*,
       b.generation AS next_generation, b.title AS next_title, b.operator AS next_operator,
       b.sort_order AS next_sort_order, b.ties AS next_ties, b.schedule AS next_schedule,
       b.timezone AS next_timezone, b.modes AS next_modes, b.min_score AS next_min_score,
       b.max_score AS next_max_score, b.index_shards AS next_index_shards, b.users_done, b.users_total, b.failure_code, b.failure
  FROM leaderboards AS l
  LEFT JOIN builds AS b USING (leaderboard_id)
 WHERE l.game_id = $1 AND l.leaderboard = $2;

-- name: has_history
-- Whether a board of this game has anything to be folded from.
SELECT EXISTS (SELECT FROM game_sessions WHERE game_id = $1)
    OR EXISTS (SELECT FROM entry_base WHERE leaderboard_id = $2);

-- name: insert_leaderboard
-- Create a leaderboard: `ready` with nothing in it, or `building`, as generation 0, which nothing feeds.
INSERT INTO leaderboards (game_id, leaderboard, title, operator, sort_order, ties, schedule, timezone, modes, min_score, max_score,
                          index_shards, status, generation, last_generation)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
        CASE WHEN $13 = 'ready' THEN 1 ELSE 0 END, CASE WHEN $13 = 'ready' THEN 1 ELSE 0 END)
RETURNING *;

-- name: replace_leaderboard
-- Replace a definition on the spot.
UPDATE leaderboards
   SET title = $3, operator = $4, sort_order = $5, ties = $6, schedule = $7, timezone = $8,
       modes = $9, min_score = $10, max_score = $11, index_shards = $12,
       index_layout = index_layout + (index_shards <> $12)::int
 WHERE game_id = $1 AND leaderboard = $2
RETURNING *;

-- name: next_generation
-- Give a board's next generation a number no other had.
UPDATE leaderboards
   SET last_generation = greatest(generation, last_generation) + 1
 WHERE leaderboard_id = $1
RETURNING last_generation;

-- name: skip_to_generation
-- A board nothing was ever recorded for goes straight to its next generation.
UPDATE leaderboards SET generation = $2, base_until = '-infinity', status = 'ready' WHERE leaderboard_id = $1 RETURNING *;

-- name: drop_leaderboard
-- Drop a leaderboard; the history stays.
DELETE FROM leaderboards
 WHERE game_id = $1 AND leaderboard = $2
RETURNING leaderboard_id, greatest(generation, last_generation) AS last_generation;

-- name: discard_entries
-- Have the entries of a leaderboard's generations up to the given one deleted in the background.
INSERT INTO discarded (leaderboard_id, generation)
SELECT $1, generation FROM generate_series(1, $2::int) AS generation
ON CONFLICT DO NOTHING;

-- name: discard_generation
-- Have the entries of one generation deleted in the background.
INSERT INTO discarded (leaderboard_id, generation) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: claim_discarded
-- Take one generation whose entries are to be deleted; another replica skips it.
SELECT leaderboard_id, d.generation, coalesce(l.index_shards, 1) AS index_shards,
       coalesce(l.index_layout, 0) AS index_layout
  FROM discarded AS d LEFT JOIN leaderboards AS l USING (leaderboard_id)
 ORDER BY discarded_at
 LIMIT 1
   FOR UPDATE OF d SKIP LOCKED;

-- name: delete_entries
-- Delete some entries of a discarded generation.
DELETE FROM entries
 WHERE (leaderboard_id, generation, season, user_id) IN (
       SELECT leaderboard_id, generation, season, user_id
         FROM entries
        WHERE leaderboard_id = $1 AND generation = $2
        LIMIT $3)
RETURNING season;

-- name: drop_discarded
-- A discarded generation has no entries left; its base, seasons and snapshots go too.
WITH base AS (
    DELETE FROM entry_base WHERE leaderboard_id = $1 AND generation = $2
), ended AS (
    DELETE FROM seasons WHERE leaderboard_id = $1 AND generation = $2
), days AS (
    DELETE FROM snapshots WHERE leaderboard_id = $1 AND generation = $2
)
DELETE FROM discarded WHERE leaderboard_id = $1 AND generation = $2;

-- name: put_profile
-- Create or replace a user's profile, with the outbox row that has its copies invalidated should we
-- not live to do it; says whether the user is new.
WITH put AS (
    INSERT INTO users AS u (game_id, user_id, display_name, country, avatar_url)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (game_id, user_id) DO UPDATE
       SET display_name = EXCLUDED.display_name,
           country = EXCLUDED.country,
           avatar_url = EXCLUDED.avatar_url
    RETURNING user_id, display_name, country, avatar_url, xmax = 0 AS is_new
), queued AS (
    INSERT INTO outbox (changes) VALUES (jsonb_build_array(jsonb_build_array($1, jsonb_build_array($2::text))))
    RETURNING outbox_id
)
SELECT * FROM put, queued;

-- name: game_as_it_is
-- A game before it is put, also an archived one.
SELECT game_id, title, archived_at FROM games WHERE game = $1;
