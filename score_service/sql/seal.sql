-- name: games_due
-- Games with seasons whose time is up, by whose was up first.
SELECT l.game_id, min(s.closes_at) AS since
  FROM seasons AS s JOIN leaderboards AS l USING (leaderboard_id, generation)
 WHERE s.sealed_at IS NULL AND s.closed_at IS NULL AND s.closes_at <= clock_timestamp() AND l.status = 'ready'
 GROUP BY l.game_id
 ORDER BY since;

-- name: close_seasons
-- Alone behind a game's gate: no batch adds to its seasons whose time is up any more, and none will be
-- earlier than now, whatever the clock says.
WITH moment AS (
    UPDATE games SET not_before = greatest(not_before, clock_timestamp()) WHERE game_id = $1 RETURNING not_before
)
UPDATE seasons AS s
   SET closed_at = not_before
  FROM moment, leaderboards AS l
 WHERE l.game_id = $1
   AND s.leaderboard_id = l.leaderboard_id AND s.generation = l.generation
   AND s.closed_at IS NULL AND s.closes_at <= not_before;

-- name: claim_closed_season
-- Take the oldest closed season that is not sealed; another replica skips it, and takes no later one of
-- the same board.
SELECT s.leaderboard_id, s.generation, s.season, l.leaderboard, l.ties, l.sort_order,
       l.index_shards, l.index_layout
  FROM seasons AS s JOIN leaderboards AS l USING (leaderboard_id, generation)
 WHERE s.sealed_at IS NULL AND s.closed_at IS NOT NULL AND l.status = 'ready'
   AND NOT EXISTS (SELECT FROM seasons AS b
                    WHERE b.leaderboard_id = s.leaderboard_id AND b.generation = s.generation
                      AND b.season < s.season AND b.closed_at IS NOT NULL AND b.sealed_at IS NULL)
 ORDER BY s.ends_at, s.leaderboard_id
 LIMIT 1
   FOR UPDATE OF s SKIP LOCKED;

-- name: take_long
-- A season of millions takes longer to seal than any other statement may.
SELECT set_config('statement_timeout', '600000', true);

-- name: forget_standings
-- Forget what was sealed of a season before.
DELETE FROM final_standings WHERE leaderboard_id = $1 AND generation = $2 AND season = $3;

-- name: store_standings
-- Store the final ranks of all who are shown, by the tie policy ($4).
INSERT INTO final_standings (leaderboard_id, generation, season, place, user_id, rank, ties, better, score)
SELECT $1, $2, $3, row_number() OVER places, user_id,
       CASE $4::text WHEN 'first' THEN row_number() OVER places
                     WHEN 'dense' THEN dense_rank() OVER scores ELSE rank() OVER scores END,
       count(*) OVER (PARTITION BY sort_key), rank() OVER scores - 1, score
  FROM entries
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND NOT hidden AND deleted_at IS NULL
WINDOW scores AS (ORDER BY sort_key),
       places AS (ORDER BY sort_key, tiebreak, user_id);

-- name: stored_standings
-- What was stored, in its order: read through a cursor, for the digest.
SELECT rank, user_id, score
  FROM final_standings
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
 ORDER BY place;

-- name: seal_season
-- A season's standings are final: how many they are, and their digest.
UPDATE seasons
   SET sealed_at = clock_timestamp(), total = $4, digest = $5
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3;

-- name: lock_seasons
-- Keep the seasons some users' entries of a board are in (one, or all) from being sealed meanwhile: asked in
-- a statement of its own, before anything of theirs is read.
SELECT count(*)
  FROM (SELECT FROM seasons AS s
         WHERE s.leaderboard_id = $1 AND s.generation = $2 AND ($4::bigint IS NULL OR s.season = $4)
           AND EXISTS (SELECT FROM entries AS e
                        WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = s.season
                          AND e.user_id = ANY ($3::text[]))
         ORDER BY s.season
           FOR UPDATE) AS locked;

-- name: unseal_seasons
-- Seasons changed after they were sealed are to be sealed anew; what they were is kept on record.
UPDATE seasons
   SET previous_digests = previous_digests
                          || jsonb_build_array(jsonb_build_object('digest', digest, 'total', total, 'sealed_at', sealed_at)),
       sealed_at = NULL, total = NULL, digest = NULL
 WHERE leaderboard_id = $1 AND generation = $2 AND season = ANY ($3::bigint[]) AND sealed_at IS NOT NULL;

-- name: lock_seasons_of_user
-- Keep the seasons a user has entries in from being sealed meanwhile, all of a game.
SELECT count(*)
  FROM (SELECT FROM seasons AS s JOIN leaderboards AS l USING (leaderboard_id)
         WHERE l.game_id = $1
           AND EXISTS (SELECT FROM entries AS e
                        WHERE e.leaderboard_id = s.leaderboard_id AND e.generation = s.generation
                          AND e.season = s.season AND e.user_id = $2)
         ORDER BY s.leaderboard_id, s.generation, s.season
           FOR UPDATE OF s) AS locked;

-- name: unseal_seasons_of_user
-- A user leaves all sealed standings of a game at once; these are to be sealed anew without.
WITH gone AS (
    DELETE FROM final_standings AS f USING leaderboards AS l
     WHERE l.game_id = $1 AND f.leaderboard_id = l.leaderboard_id AND f.user_id = $2
    RETURNING f.leaderboard_id, f.generation, f.season
)
UPDATE seasons AS s
   SET previous_digests = s.previous_digests
                          || jsonb_build_array(jsonb_build_object('digest', digest, 'total', total, 'sealed_at', sealed_at)),
       sealed_at = NULL, total = NULL, digest = NULL
  FROM gone
 WHERE s.leaderboard_id = gone.leaderboard_id AND s.generation = gone.generation AND s.season = gone.season
   AND s.sealed_at IS NOT NULL;

-- name: delete_standings
-- Delete some of the sealed standings of a discarded generation.
DELETE FROM final_standings
 WHERE (leaderboard_id, generation, season, place) IN (
       SELECT leaderboard_id, generation, season, place
         FROM final_standings
        WHERE leaderboard_id = $1 AND generation = $2
        LIMIT $3);
