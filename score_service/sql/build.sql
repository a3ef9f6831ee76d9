-- name: start_build
-- Put a definition on its way: batches feed it from now on, builders fold what was before.
INSERT INTO builds (leaderboard_id, game_id, leaderboard, title, operator, sort_order, ties, schedule, timezone, modes, min_score, max_score, index_shards, generation, carries)
SELECT leaderboard_id, game_id, leaderboard, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, last_generation, $12
  FROM leaderboards
 WHERE leaderboard_id = $1
RETURNING *;

-- name: retitle_build
-- The definition on its way gets another title, its index another number of shards.
UPDATE builds SET title = $2, index_shards = $3 WHERE leaderboard_id = $1 RETURNING *;

-- name: delete_build
-- A definition is not on its way any more.
DELETE FROM builds WHERE leaderboard_id = $1 RETURNING generation;

-- name: waiting_builds
-- What there is for builders to do, the oldest first.
SELECT b.leaderboard_id, b.generation, b.game_id, g.game, b.leaderboard, b.schedule, b.timezone, b.carries,
       b.users_total, b.failure_code
  FROM builds AS b JOIN games AS g USING (game_id)
 WHERE b.failure_code IS NULL OR NOT b.cleared
 ORDER BY b.started_at, b.leaderboard_id;

-- name: waiting_build
-- The same of one build.
SELECT b.leaderboard_id, b.generation, b.game_id, g.game, b.leaderboard, b.schedule, b.timezone, b.carries,
       b.users_total, b.failure_code
  FROM builds AS b JOIN games AS g USING (game_id)
 WHERE b.leaderboard_id = $1 AND b.generation = $2;

-- name: claim_build
-- Take a build for this transaction; another replica that has it goes on with it.
SELECT user_id, users_total
  FROM builds
 WHERE leaderboard_id = $1 AND generation = $2 AND failure_code IS NULL
   FOR UPDATE SKIP LOCKED;

-- name: lock_builds
-- Keep what is on its way to a game's leaderboards where it is: waits for a chunk that is being folded.
SELECT leaderboard_id FROM builds WHERE game_id = $1 ORDER BY leaderboard_id FOR UPDATE;

-- name: carry_base
-- A generation to which results add the same as to the present one starts from the same base.
WITH base AS (
    INSERT INTO entry_base (leaderboard_id, generation, season, user_id, score, reached_at, session_id)
    SELECT b.leaderboard_id, $2, b.season, b.user_id, b.score, b.reached_at, b.session_id
      FROM leaderboards AS l JOIN entry_base AS b USING (leaderboard_id, generation)
     WHERE l.leaderboard_id = $1
)
UPDATE builds AS n
   SET base_until = l.base_until
  FROM leaderboards AS l
 WHERE l.leaderboard_id = $1 AND n.leaderboard_id = $1 AND n.generation = $2;

-- name: prepare_build
-- A build has its base and its seasons, and knows how far it has to go.
UPDATE builds AS b
   SET users_total = (SELECT count(*) FROM users AS u WHERE u.game_id = b.game_id)
 WHERE leaderboard_id = $1 AND generation = $2;

-- name: end_of_chunk
-- The last of the next users to fold, and how many they are.
SELECT max(user_id), count(*)
  FROM (SELECT user_id FROM users WHERE game_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) AS chunk;

-- name: fold_chunk
-- Fold the users behind $3 up to $4 into a generation being built. What has no row yet is inserted: nobody added to
-- it, or whoever does waits for us and adds to what we put there. What has one, from a batch, is locked and told: this
-- statement may not see all that is in it. In the order of keys, as batches lock.
WITH folded AS MATERIALIZED (
    SELECT f.* FROM definition($1, $2) AS l CROSS JOIN LATERAL fold_by_key(l, NULL, NULL, $3, $4) AS f
), put AS (
    INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
    SELECT l.leaderboard_id, l.generation, f.season, f.user_id, f.score,
           CASE WHEN l.sort_order = 'desc' THEN -f.score ELSE f.score END,
           CASE WHEN l.ties = 'first' THEN abs(f.reached_at) ELSE 0 END,
           f.reached_at, f.session_id,
           g.has_bans
           AND EXISTS (SELECT FROM users AS u WHERE u.game_id = g.game_id AND u.user_id = f.user_id AND u.banned_at IS NOT NULL)
      FROM definition($1, $2) AS l JOIN games AS g USING (game_id) CROSS JOIN folded AS f
     ORDER BY f.season, f.user_id
    ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE SET score = e.score WHERE false
    RETURNING season, user_id
)
SELECT array_agg(f.season ORDER BY f.season, f.user_id) FILTER (WHERE put.user_id IS NULL) AS seasons,
       array_agg(f.user_id ORDER BY f.season, f.user_id) FILTER (WHERE put.user_id IS NULL) AS users,
       coalesce(max(abs(f.score)), 0) AS greatest
  FROM folded AS f LEFT JOIN put USING (season, user_id);

-- name: refold_chunk
-- Put entries that are locked (season and user of each) at what the history says by now.
WITH folded AS MATERIALIZED (
    SELECT f.* FROM definition($1, $2) AS l CROSS JOIN LATERAL fold_by_key(l, $4::text[]) AS f
), replaced AS (
    INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, deleted_at)
    SELECT l.leaderboard_id, l.generation, k.season, k.who, coalesce(f.score, 0),
           CASE WHEN l.sort_order = 'desc' THEN -coalesce(f.score, 0) ELSE coalesce(f.score, 0) END,
           CASE WHEN l.ties = 'first' THEN abs(coalesce(f.reached_at, 0)) ELSE 0 END,
           coalesce(f.reached_at, 0), f.session_id, CASE WHEN f.user_id IS NULL THEN now() END
      FROM definition($1, $2) AS l
     CROSS JOIN unnest($3::bigint[], $4::text[]) AS k (season, who)
      LEFT JOIN folded AS f ON f.season = k.season AND f.user_id = k.who
    ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
       SET score = EXCLUDED.score, sort_key = EXCLUDED.sort_key, tiebreak = EXCLUDED.tiebreak,
           reached_at = EXCLUDED.reached_at, session_id = EXCLUDED.session_id, deleted_at = EXCLUDED.deleted_at,
           version = nextval('entry_version')
    RETURNING score
)
SELECT coalesce(max(abs(score)), 0) FROM replaced;

-- name: advance_build
-- The users up to the given one are folded.
UPDATE builds SET user_id = $3, users_done = users_done + $4 WHERE leaderboard_id = $1 AND generation = $2;

-- name: carry_digests
-- What the present generation has sealed is kept on record in the one that takes its place.
UPDATE seasons AS n
   SET previous_digests = s.previous_digests
                          || CASE WHEN s.sealed_at IS NULL THEN '[]'
                                  ELSE jsonb_build_array(jsonb_build_object(
                                           'digest', s.digest, 'total', s.total, 'sealed_at', s.sealed_at))
                             END
  FROM leaderboards AS l JOIN seasons AS s USING (leaderboard_id, generation)
 WHERE l.leaderboard_id = $1
   AND n.leaderboard_id = $1 AND n.generation = $2 AND n.season = s.season;

-- name: switch_leaderboard
-- From now on what was built is in force.
UPDATE leaderboards AS l
   SET generation = b.generation, title = b.title, operator = b.operator, sort_order = b.sort_order, ties = b.ties,
       schedule = b.schedule, timezone = b.timezone, modes = b.modes, min_score = b.min_score, max_score = b.max_score,
       base_until = b.base_until, status = 'ready', index_shards = b.index_shards,
       index_layout = l.index_layout + (l.index_shards <> b.index_shards)::int
  FROM builds AS b
 WHERE b.leaderboard_id = $1 AND b.generation = $2 AND l.leaderboard_id = b.leaderboard_id;

-- name: fail_builds
-- Note that definitions on their way cannot be; batches soon stop feeding them. One that is held by a chunk is
-- passed over, so that no batch waits: it is found out before the switch.
WITH failed AS (
    UPDATE builds
       SET failure_code = $3, failure = $4
     WHERE (leaderboard_id, generation) IN (
           SELECT b.leaderboard_id, b.generation
             FROM builds AS b JOIN unnest($1::int[], $2::int[]) AS f (leaderboard_id, generation) USING (leaderboard_id, generation)
            WHERE b.failure_code IS NULL
              FOR UPDATE OF b SKIP LOCKED)
    RETURNING game_id
)
UPDATE games SET rules_version = rules_version + 1 WHERE game_id IN (SELECT game_id FROM failed);

-- name: is_out_of_range
-- Whether a total of a generation left the range of exact integers ($3): two looks at each season's ends, and at
-- those who are hidden.
SELECT EXISTS (
       SELECT FROM (SELECT 0::bigint AS season UNION ALL
                    SELECT season FROM seasons WHERE leaderboard_id = $1 AND generation = $2) AS s
        WHERE EXISTS (SELECT FROM entries AS e
                       WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = s.season
                         AND NOT e.hidden AND e.deleted_at IS NULL AND e.sort_key < -$3::bigint)
           OR EXISTS (SELECT FROM entries AS e
                       WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = s.season
                         AND NOT e.hidden AND e.deleted_at IS NULL AND e.sort_key > $3::bigint))
    OR EXISTS (SELECT FROM entries WHERE leaderboard_id = $1 AND generation = $2 AND hidden AND abs(sort_key) > $3);

-- name: clear_build
-- The entries of a build that failed are on their way out.
UPDATE builds SET cleared = true, user_id = ''
 WHERE leaderboard_id = $1 AND generation = $2 AND failure_code IS NOT NULL AND NOT cleared
RETURNING generation;

-- name: discard_present
-- The generation in force gives way: have its entries deleted in the background.
INSERT INTO discarded (leaderboard_id, generation)
SELECT leaderboard_id, generation FROM leaderboards WHERE leaderboard_id = $1 AND status = 'ready'
ON CONFLICT DO NOTHING;
