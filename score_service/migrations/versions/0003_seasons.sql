-- A season of a scheduled leaderboard, from its first use on. What counts in it is fixed by its row:
-- replicas with different settings agree, and a fold from the history gets the same.
CREATE TABLE seasons (
    leaderboard_id   integer NOT NULL,
    generation       integer NOT NULL,
    season           bigint NOT NULL,
    ends_at          timestamptz NOT NULL,
    closes_at        timestamptz NOT NULL,
    closed_at        timestamptz,
    sealed_at        timestamptz,
    total            bigint,
    digest           text,
    previous_digests jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (leaderboard_id, generation, season),
    CHECK (closes_at >= ends_at),
    CHECK (sealed_at IS NULL OR (closed_at IS NOT NULL AND total IS NOT NULL AND digest IS NOT NULL))
);
COMMENT ON COLUMN seasons.season IS 'its start in Unix seconds';
COMMENT ON COLUMN seasons.closes_at IS 'results recorded from then on do not count: its end and the grace';
COMMENT ON COLUMN seasons.closed_at IS 'when, alone behind the gate, it was made sure that no batch adds to it any more';
COMMENT ON COLUMN seasons.digest IS 'SHA-256 of the sealed standings, see rules.py';
COMMENT ON COLUMN seasons.previous_digests IS '[{"digest", "total", "sealed_at"}, ...] of standings sealed before, oldest first';
CREATE INDEX seasons_due ON seasons (closes_at) WHERE sealed_at IS NULL;

-- The sealed standings: final ranks, by place.
CREATE TABLE final_standings (
    leaderboard_id integer NOT NULL,
    generation     integer NOT NULL,
    season         bigint NOT NULL,
    place          bigint NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    rank           bigint NOT NULL,
    ties           bigint NOT NULL,
    better         bigint NOT NULL,
    score          bigint NOT NULL,
    PRIMARY KEY (leaderboard_id, generation, season, place),
    UNIQUE (leaderboard_id, generation, season, user_id)
);
COMMENT ON COLUMN final_standings.better IS 'players with a strictly better score';

-- Who is hidden from a season's view: few, so sealed standings are shown without those.
CREATE INDEX entries_hidden ON entries (leaderboard_id, generation, season, user_id) WHERE hidden;

ALTER TABLE games ADD COLUMN not_before timestamptz NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN games.not_before IS 'no batch is earlier than this, whatever its clock says: a season was closed then';

ALTER TABLE entry_base
    ADD COLUMN season bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT entry_base_pkey,
    ADD PRIMARY KEY (leaderboard_id, generation, season, user_id);
ALTER TABLE entry_base ALTER COLUMN season DROP DEFAULT;

-- The same gate; its clock never goes behind the closing of a season.
CREATE OR REPLACE FUNCTION enter_gate(game_ids integer[])
RETURNS TABLE (game_id integer, game text, rules_version bigint, archived boolean, now timestamptz,
               first_period date, closed_until date, has_bans boolean)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    id integer;
BEGIN
    FOREACH id IN ARRAY game_ids LOOP
        PERFORM pg_advisory_xact_lock_shared(1, id);
    END LOOP;
    RETURN QUERY
        SELECT g.game_id, g.game, g.rules_version, g.archived_at IS NOT NULL,
               greatest(clock_timestamp(), g.not_before),
               h.first_period, h.closed_until, g.has_bans
          FROM history AS h, unnest(game_ids) AS wanted (id)
          JOIN games AS g ON g.game_id = wanted.id;
END
$$;

-- The fold of a board's history, by season and user: all of it or what `until`, `users`, `only_season` leave.
-- A result belongs to the last season that begins before it, if that one lasts until then, and counts if it
-- was recorded before that closed. Planned anew each time, with what the board says as constants.
DROP FUNCTION fold(leaderboards, date, text[]);
CREATE FUNCTION fold(board leaderboards, until date DEFAULT 'infinity', users text[] DEFAULT NULL,
                     only_season bigint DEFAULT NULL)
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
            SELECT CASE WHEN $1.schedule IS NULL THEN 0
                        ELSE bounds.keys[width_bucket(s.played_at, bounds.starts)] END AS season,
                   r.user_id,
                   CASE WHEN $1.operator = 'count' THEN 1 ELSE r.score END AS score,
                   (CASE WHEN $1.operator = 'sum' AND r.score = 0 THEN -1 ELSE 1 END
                    * extract(epoch FROM r.played_at) * 1000000)::bigint AS reached_at,
                   CASE WHEN $1.operator = 'latest' THEN r.session_id END AS session_id
              FROM history AS h
             CROSS JOIN bounds
             CROSS JOIN game_sessions AS s
              JOIN session_results AS r USING (game_id, period, session_id)
             WHERE r.game_id = $1.game_id
               AND ($3 IS NULL OR r.user_id = ANY ($3))
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
    $fold$ USING board, until, users, only_season;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON seasons TO leaderboard_score;
GRANT SELECT, INSERT, DELETE ON final_standings TO leaderboard_score;
GRANT SELECT ON seasons, final_standings TO leaderboard_rank;
