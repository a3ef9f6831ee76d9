-- The truth: games, their leaderboards, users, the append-only history, entries, the outbox.
-- User ids are COLLATE "C": Postgres, Redis and Python then agree on the order of equal scores.

CREATE TABLE games (
    game_id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    game          text COLLATE "C" NOT NULL UNIQUE,
    title         text,
    rules_version bigint NOT NULL DEFAULT 1,
    has_bans      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    archived_at   timestamptz
);
COMMENT ON COLUMN games.rules_version IS 'bumped, under the exclusive gate, by whatever changes what a result counts for';

CREATE TABLE leaderboards (
    leaderboard_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    game_id        integer NOT NULL REFERENCES games,
    leaderboard    text COLLATE "C" NOT NULL,
    generation     integer NOT NULL DEFAULT 1,
    title          text,
    operator       text NOT NULL CHECK (operator IN ('sum', 'best', 'latest', 'count')),
    sort_order     text NOT NULL CHECK (sort_order IN ('desc', 'asc')),
    ties           text NOT NULL CHECK (ties IN ('competition', 'dense', 'first')),
    schedule       text,
    timezone       text NOT NULL DEFAULT 'UTC',
    modes          text[],
    min_score      bigint NOT NULL,
    max_score      bigint NOT NULL CHECK (max_score >= min_score),
    status         text NOT NULL CHECK (status IN ('building', 'ready')),
    base_until     date NOT NULL DEFAULT '-infinity',
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (game_id, leaderboard)
);
COMMENT ON COLUMN leaderboards.base_until IS 'closed periods before this month are folded into entry_base';

CREATE TABLE users (
    game_id      integer NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    display_name text,
    country      text,
    avatar_url   text,
    banned_at    timestamptz,
    ban_reason   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (game_id, user_id)
);

-- Partitioned by period, a pure function of session_id (its UTC month for a UUIDv7, 1970-01 for
-- any other), which is in every key: so uniqueness holds across partitions. No foreign keys on
-- the hot path: the one transaction that writes all of these rows is what relates them.
CREATE TABLE game_sessions (
    game_id     integer NOT NULL,
    period      date NOT NULL,
    session_id  uuid NOT NULL,
    fingerprint bytea NOT NULL,
    mode        text,
    played_at   timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    voided_at   timestamptz,
    void_reason text,
    PRIMARY KEY (game_id, period, session_id)
) PARTITION BY RANGE (period);
CREATE INDEX game_sessions_by_time ON game_sessions (game_id, played_at, session_id);
COMMENT ON COLUMN game_sessions.fingerprint IS 'of the request as sent, before defaults: tells a replay from a conflict';

CREATE TABLE session_results (
    game_id    integer NOT NULL,
    period     date NOT NULL,
    session_id uuid NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    score      bigint NOT NULL,
    played_at  timestamptz NOT NULL,
    metadata   jsonb,
    PRIMARY KEY (game_id, period, session_id, user_id)
) PARTITION BY RANGE (period);
CREATE INDEX session_results_by_user ON session_results (game_id, user_id, played_at, session_id);

-- One sequence numbers every change of every entry. CACHE 1: a session must not keep numbers in
-- hand, or a later change could carry an earlier one.
CREATE SEQUENCE entry_version CACHE 1;

CREATE TABLE entries (
    leaderboard_id integer NOT NULL,
    generation     integer NOT NULL,
    season         bigint NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    score          bigint NOT NULL,
    sort_key       bigint NOT NULL,
    tiebreak       bigint NOT NULL DEFAULT 0,
    reached_at     bigint NOT NULL,
    session_id     uuid,
    version        bigint NOT NULL DEFAULT nextval('entry_version'),
    hidden         boolean NOT NULL DEFAULT false,
    deleted_at     timestamptz,
    PRIMARY KEY (leaderboard_id, generation, season, user_id)
) WITH (fillfactor = 90);
COMMENT ON COLUMN entries.season IS 'its start in Unix seconds; 0: the endless season';
COMMENT ON COLUMN entries.sort_key IS 'smaller is better: the score, or its negative where high wins';
COMMENT ON COLUMN entries.tiebreak IS 'smaller is better among equal scores: microseconds for ties = first, else 0';
COMMENT ON COLUMN entries.reached_at IS 'the fold''s time in microseconds, see rules.py';
COMMENT ON COLUMN entries.session_id IS 'for operator latest: the session that set the score';
COMMENT ON COLUMN entries.version IS 'fences the ranking index: an older version is refused';
COMMENT ON COLUMN entries.deleted_at IS 'a tombstone: the row stays an hour so that its version is known';

CREATE INDEX entries_rank ON entries (leaderboard_id, generation, season, sort_key, tiebreak, user_id)
    WHERE NOT hidden AND deleted_at IS NULL;
CREATE INDEX entries_deleted ON entries (deleted_at) WHERE deleted_at IS NOT NULL;

-- With retention, old periods are closed, folded into entry_base and detached. Every fold starts there.
CREATE TABLE entry_base (
    leaderboard_id integer NOT NULL,
    generation     integer NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    score          bigint NOT NULL,
    reached_at     bigint NOT NULL,
    session_id     uuid,
    PRIMARY KEY (leaderboard_id, generation, user_id)
);

-- One row. Sessions of the periods from first_period up to closed_until are neither accepted nor
-- voidable any more; first_period is where the lowest partition, which is never closed, ends.
CREATE TABLE history (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    first_period date NOT NULL,
    closed_until date NOT NULL
);

-- The fold of a board from its base and the history kept, as rules.py defines it: one row a user.
-- `until` bounds it to the closed months before; `users` to some users (null: all). Planned at each
-- call with its values at hand: one user is an index probe, a whole board is a scan.
CREATE FUNCTION fold(board leaderboards, until date DEFAULT 'infinity', users text[] DEFAULT NULL)
RETURNS TABLE (user_id text, score bigint, reached_at bigint, session_id uuid)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE $fold$
        WITH contributions AS (
            SELECT r.user_id,
                   CASE WHEN $1.operator = 'count' THEN 1 ELSE r.score END AS score,
                   (CASE WHEN $1.operator = 'sum' AND r.score = 0 THEN -1 ELSE 1 END
                    * extract(epoch FROM r.played_at) * 1000000)::bigint AS reached_at,
                   CASE WHEN $1.operator = 'latest' THEN r.session_id END AS session_id
              FROM history AS h, game_sessions AS s
              JOIN session_results AS r USING (game_id, period, session_id)
             WHERE r.game_id = $1.game_id
               AND ($3 IS NULL OR r.user_id = ANY ($3))
               AND s.voided_at IS NULL
               AND ($1.modes IS NULL OR s.mode = ANY ($1.modes))
               AND r.score BETWEEN $1.min_score AND $1.max_score
               AND CASE WHEN $2 = 'infinity' THEN s.period >= $1.base_until OR s.period < h.first_period
                        ELSE s.period >= greatest($1.base_until, h.first_period) AND s.period < $2 END
             UNION ALL
            SELECT b.user_id, b.score, b.reached_at, b.session_id
              FROM entry_base AS b
             WHERE b.leaderboard_id = $1.leaderboard_id
               AND b.generation = $1.generation
               AND ($3 IS NULL OR b.user_id = ANY ($3))
        )
        SELECT c.user_id, sum(c.score)::bigint, max(c.reached_at), NULL::uuid
          FROM contributions AS c
         WHERE $1.operator IN ('sum', 'count')
         GROUP BY c.user_id
         UNION ALL
        (SELECT DISTINCT ON (c.user_id) c.user_id, c.score, c.reached_at, c.session_id
           FROM contributions AS c
          WHERE $1.operator IN ('best', 'latest')
          ORDER BY c.user_id,
                   CASE WHEN $1.operator = 'latest' THEN NULL
                        WHEN $1.sort_order = 'desc' THEN -c.score ELSE c.score END,
                   CASE WHEN $1.operator = 'latest' THEN -c.reached_at ELSE c.reached_at END,
                   c.session_id DESC)
    $fold$ USING board, until, users;
END
$$;

CREATE TABLE outbox (
    outbox_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    changes    jsonb NOT NULL
);
COMMENT ON COLUMN outbox.changes IS '[[leaderboard_id, generation, season, [user_id, ...]], ...] for entries, [[game_id, [user_id, ...]]] for profiles; the row goes once they are applied';

-- Who did what by hand: every call of an admin that changes what players see.
CREATE TABLE audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    game_id  integer NOT NULL,
    key_id   text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    reason   text
);
CREATE INDEX audit_log_by_game ON audit_log (game_id, audit_id);

-- Entries of dropped boards and replaced generations, to be deleted in the background.
CREATE TABLE discarded (
    leaderboard_id integer NOT NULL,
    generation     integer NOT NULL,
    discarded_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (leaderboard_id, generation)
);

-- The gate of a batch and what it protects, in one round trip. In a VOLATILE function every statement
-- has a snapshot of its own, so the rules are read after the locks are held, as they must be.
CREATE FUNCTION enter_gate(game_ids integer[])
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
        SELECT g.game_id, g.game, g.rules_version, g.archived_at IS NOT NULL, clock_timestamp(),
               h.first_period, h.closed_until, g.has_bans
          FROM history AS h, unnest(game_ids) AS wanted (id)
          JOIN games AS g ON g.game_id = wanted.id;
END
$$;

-- Partitions are made stand-alone and then attached under a lock_timeout. The lowest one starts at
-- MINVALUE, where every non-v7 id lives; there is no default partition (one stray row in it would
-- make creating that row's month fail).
CREATE FUNCTION make_periods(months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    parent text;
    month date;
    last_month date := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => months_ahead))::date;
    part text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('make_periods'));
    FOREACH parent IN ARRAY ARRAY['game_sessions', 'session_results'] LOOP
        month := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
        IF to_regclass(parent || '_past') IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (MINVALUE) TO (%L)',
                           parent || '_past', parent, month);
        ELSE
            SELECT max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::date)
              INTO month
              FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = parent::regclass;
        END IF;
        WHILE month <= last_month LOOP
            part := parent || to_char(month, '_YYYY_MM');
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           parent, part, month, (month + interval '1 month')::date);
            month := (month + interval '1 month')::date;
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION make_periods(integer) FROM PUBLIC;
SELECT make_periods(3);
INSERT INTO history (first_period, closed_until)
SELECT month, month FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month) AS today;

-- Detach the closed partitions before a month, under all gates; their tables stay, for an operator
-- to keep elsewhere or drop. Every board must have folded them into its base.
CREATE FUNCTION detach_periods(until date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    part record;
    detached integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(1, g.game_id) FROM (SELECT game_id FROM games ORDER BY game_id) AS g;
    IF EXISTS (SELECT FROM leaderboards AS l WHERE l.base_until < until)
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
REVOKE ALL ON FUNCTION detach_periods(date) FROM PUBLIC;

-- Least privilege: the services log in as members of these; neither owns a table.
DO $$
BEGIN
    CREATE ROLE leaderboard_score NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
    CREATE ROLE leaderboard_rank NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
GRANT SELECT, INSERT, UPDATE ON games, leaderboards, users, game_sessions, entries TO leaderboard_score;
GRANT SELECT, INSERT ON session_results TO leaderboard_score;
GRANT DELETE ON leaderboards, entries TO leaderboard_score;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, discarded TO leaderboard_score;
GRANT USAGE ON SEQUENCE entry_version TO leaderboard_score;
GRANT EXECUTE ON FUNCTION make_periods(integer) TO leaderboard_score;
GRANT EXECUTE ON FUNCTION detach_periods(date) TO leaderboard_score;
GRANT SELECT, INSERT, UPDATE, DELETE ON entry_base TO leaderboard_score;
GRANT SELECT, UPDATE ON history TO leaderboard_score;
GRANT SELECT, INSERT ON audit_log TO leaderboard_score;
REVOKE ALL ON FUNCTION enter_gate(integer[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enter_gate(integer[]) TO leaderboard_score;
GRANT SELECT ON games, leaderboards, users, game_sessions, session_results, entries, outbox TO leaderboard_rank;
