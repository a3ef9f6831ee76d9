-- Numbers of generations are given once: what is kept by number (seasons' closings, copies in the index) can
-- then never be taken for another's.
ALTER TABLE leaderboards ADD COLUMN last_generation integer NOT NULL DEFAULT 1;
UPDATE leaderboards SET last_generation = generation;
COMMENT ON COLUMN leaderboards.last_generation IS 'the highest number a generation of this board was given';

-- A definition on its way: the next generation of a board, being folded from the history while batches feed
-- it too. What `leaderboards` says stays in force until the switch.
CREATE TABLE builds (
    leaderboard_id integer PRIMARY KEY,
    game_id        integer NOT NULL,
    leaderboard    text COLLATE "C" NOT NULL,
    generation     integer NOT NULL,
    title          text,
    operator       text NOT NULL,
    sort_order     text NOT NULL,
    ties           text NOT NULL,
    schedule       text,
    timezone       text NOT NULL,
    modes          text[],
    min_score      bigint NOT NULL,
    max_score      bigint NOT NULL,
    index_shards   integer NOT NULL,
    base_until     date NOT NULL DEFAULT '-infinity',
    started_at     timestamptz NOT NULL DEFAULT now(),
    carries        boolean NOT NULL,
    users_total    bigint,
    users_done     bigint NOT NULL DEFAULT 0,
    user_id        text COLLATE "C" NOT NULL DEFAULT '',
    failure_code   text,
    failure        text,
    cleared        boolean NOT NULL DEFAULT false,
    CHECK ((failure_code IS NULL) = (failure IS NULL))
);
COMMENT ON COLUMN builds.carries IS 'results add the same as before: base and seasons of the present generation are taken over';
COMMENT ON COLUMN builds.users_total IS 'null until base and seasons are there';
COMMENT ON COLUMN builds.user_id IS 'users up to this one are folded';
COMMENT ON COLUMN builds.cleared IS 'it failed, and its entries are on their way out';

-- Every generation that batches feed: the one in force, and the one being built.
CREATE VIEW generations AS
SELECT leaderboard_id, game_id, leaderboard, generation, title, operator, sort_order, ties, schedule, timezone,
       modes, min_score, max_score, status, base_until, created_at, index_shards, index_layout,
       last_generation, false AS building
  FROM leaderboards
 WHERE status = 'ready'
 UNION ALL
SELECT leaderboard_id, game_id, leaderboard, generation, title, operator, sort_order, ties, schedule, timezone,
       modes, min_score, max_score, 'building', base_until, started_at, index_shards, 0, generation, true
  FROM builds
 WHERE failure_code IS NULL;

-- The definition of one generation, as `fold` takes it.
CREATE FUNCTION definition(of_board integer, of_generation integer) RETURNS SETOF leaderboards
LANGUAGE sql STABLE AS $$
    SELECT leaderboard_id, game_id, leaderboard, generation, title, operator, sort_order, ties, schedule,
           timezone, modes, min_score, max_score, status, base_until, created_at, index_shards, index_layout,
           last_generation
      FROM generations
     WHERE leaderboard_id = of_board AND generation = of_generation
$$;

-- The fold, now also of a range of users (for builds) and of a stretch of time (for previews, whose seasons
-- have no rows).
DROP FUNCTION fold(leaderboards, date, text[], bigint);
CREATE FUNCTION fold(board leaderboards, until date DEFAULT 'infinity', users text[] DEFAULT NULL,
                     only_season bigint DEFAULT NULL, after text DEFAULT NULL, upto text DEFAULT NULL,
                     since timestamptz DEFAULT NULL, before timestamptz DEFAULT NULL)
RETURNS TABLE (season bigint, user_id text, score bigint, reached_at bigint, session_id uuid)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE $fold$
        WITH bounds AS MATERIALIZED (
            SELECT array_agg(b.season ORDER BY b.season) AS keys,
                   array_agg(to_timestamp(b.season) ORDER BY b.season) AS starts,
                   array_agg(b.ends_at ORDER BY b.season) AS ends,
                   array_agg(b.closes_at ORDER BY b.season) AS closes
              FROM seasons AS b
             WHERE $1.schedule IS NOT NULL
               AND b.leaderboard_id = $1.leaderboard_id
               AND b.generation = $1.generation
               AND ($4 IS NULL OR b.season = $4)
        ), contributions AS (
            SELECT CASE WHEN $1.schedule IS NULL THEN coalesce($4, 0)
                        ELSE bounds.keys[width_bucket(s.played_at, bounds.starts)] END AS season,
                   r.user_id,
                   CASE WHEN $1.operator = 'count' THEN 1 ELSE r.score END AS score,
                   (CASE WHEN $1.operator = 'sum' AND r.score = 0 THEN -1 ELSE 1 END
                    * extract(epoch FROM r.played_at) * 1000000)::bigint AS reached_at,
                   CASE WHEN $1.operator = 'latest' THEN r.session_id END AS session_id
              FROM session_results AS r
              JOIN game_sessions AS s USING (game_id, period, session_id)
             CROSS JOIN bounds
             CROSS JOIN history AS h
             WHERE r.game_id = $1.game_id
               AND ($3 IS NULL OR r.user_id = ANY ($3))
               AND ($5 IS NULL OR r.user_id > $5)
               AND ($6 IS NULL OR r.user_id <= $6)
               AND ($7 IS NULL OR r.played_at >= $7)
               AND ($8 IS NULL OR r.played_at < $8)
               AND ($4 IS NULL OR $1.schedule IS NULL OR r.played_at >= to_timestamp($4))
               AND s.voided_at IS NULL
               AND ($1.modes IS NULL OR s.mode = ANY ($1.modes))
               AND r.score BETWEEN $1.min_score AND $1.max_score
               AND ($1.schedule IS NULL
                    OR (s.played_at < bounds.ends[width_bucket(s.played_at, bounds.starts)]
                        AND s.recorded_at < bounds.closes[width_bucket(s.played_at, bounds.starts)]))
               AND CASE WHEN $2 = 'infinity' THEN s.period >= $1.base_until OR s.period < h.first_period
                        ELSE s.period >= greatest($1.base_until, h.first_period) AND s.period < $2 END
             UNION ALL
            SELECT b.season, b.user_id, b.score, b.reached_at, b.session_id
              FROM entry_base AS b
             WHERE b.leaderboard_id = $1.leaderboard_id
               AND b.generation = $1.generation
               AND ($3 IS NULL OR b.user_id = ANY ($3))
               AND ($5 IS NULL OR b.user_id > $5)
               AND ($6 IS NULL OR b.user_id <= $6)
               AND ($4 IS NULL OR b.season = $4)
        )
        SELECT c.season, c.user_id, sum(c.score)::bigint, max(c.reached_at), NULL::uuid
          FROM contributions AS c
         WHERE $1.operator IN ('sum', 'count')
         GROUP BY c.season, c.user_id
         UNION ALL
        (SELECT DISTINCT ON (c.season, c.user_id) c.season, c.user_id, c.score, c.reached_at, c.session_id
           FROM contributions AS c
          WHERE $1.operator IN ('best', 'latest')
          ORDER BY c.season, c.user_id,
                   CASE WHEN $1.operator = 'latest' THEN NULL
                        WHEN $1.sort_order = 'desc' THEN -c.score ELSE c.score END,
                   CASE WHEN $1.operator = 'latest' THEN -c.reached_at ELSE c.reached_at END,
                   c.session_id DESC)
    $fold$ USING board, until, users, only_season, after, upto, since, before;
END
$$;

-- The fold of a few users: their results in the order of an index, then one probe for each one's session,
-- whatever the planner believes. Left to choose, it reads the whole history for one user in fifty, which a
-- build would then do fifty times over.
CREATE FUNCTION fold_by_key(board leaderboards, users text[] DEFAULT NULL, only_season bigint DEFAULT NULL,
                            after text DEFAULT NULL, upto text DEFAULT NULL)
RETURNS TABLE (season bigint, user_id text, score bigint, reached_at bigint, session_id uuid)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET join_collapse_limit = 1 SET max_parallel_workers_per_gather = 0 SET work_mem = '64MB' AS $$
BEGIN
    RETURN QUERY SELECT * FROM fold(board, 'infinity', users, only_season, after, upto);
END
$$;

-- No partition goes before every generation has folded it, the ones being built too.
CREATE OR REPLACE FUNCTION detach_periods(until date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    part record;
    detached integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(1, g.game_id) FROM (SELECT game_id FROM games ORDER BY game_id) AS g;
    IF EXISTS (SELECT FROM generations AS g WHERE g.base_until < until)
       OR (SELECT closed_until FROM history) < until THEN
        RETURN 0;
    END IF;
    FOR part IN
        SELECT i.inhparent::regclass AS parent, i.inhrelid::regclass AS child
          FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent IN ('game_sessions'::regclass, 'session_results'::regclass)
           AND (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\)'))[1]::date < until
         ORDER BY 1, 2
    LOOP
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', part.parent, part.child);
        detached := detached + 1;
    END LOOP;
    RETURN detached;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON builds TO leaderboard_score;
GRANT SELECT ON generations TO leaderboard_score;
GRANT SELECT ON builds TO leaderboard_rank;
