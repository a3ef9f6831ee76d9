-- The schema as it stands, written by `make schema` from the migrations. Do not edit.

CREATE TABLE leaderboards (
    leaderboard_id integer NOT NULL,
    game_id integer NOT NULL,
    leaderboard text NOT NULL COLLATE pg_catalog."C",
    generation integer DEFAULT 1 NOT NULL,
    title text,
    operator text NOT NULL,
    sort_order text NOT NULL,
    ties text NOT NULL,
    schedule text,
    timezone text DEFAULT 'UTC'::text NOT NULL,
    modes text[],
    min_score bigint NOT NULL,
    max_score bigint NOT NULL,
    status text NOT NULL,
    base_until date DEFAULT '-infinity'::date NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    index_shards integer DEFAULT 1 NOT NULL,
    index_layout integer DEFAULT 0 NOT NULL,
    last_generation integer DEFAULT 1 NOT NULL,
    CONSTRAINT leaderboards_check CHECK ((max_score >= min_score)),
    CONSTRAINT leaderboards_index_shards_check CHECK (((index_shards >= 1) AND (index_shards <= 64))),
    CONSTRAINT leaderboards_index_shards_ties CHECK (((index_shards = 1) OR (ties = 'competition'::text))),
    CONSTRAINT leaderboards_operator_check CHECK ((operator = ANY (ARRAY['sum'::text, 'best'::text, 'latest'::text, 'count'::text]))),
    CONSTRAINT leaderboards_sort_order_check CHECK ((sort_order = ANY (ARRAY['desc'::text, 'asc'::text]))),
    CONSTRAINT leaderboards_status_check CHECK ((status = ANY (ARRAY['building'::text, 'ready'::text]))),
    CONSTRAINT leaderboards_ties_check CHECK ((ties = ANY (ARRAY['competition'::text, 'dense'::text, 'first'::text])))
);

COMMENT ON COLUMN leaderboards.base_until IS 'closed periods before this month are folded into entry_base';

COMMENT ON COLUMN leaderboards.index_shards IS 'users hash to shards, each an index of its own';

COMMENT ON COLUMN leaderboards.index_layout IS 'how often index_shards was changed: part of the index''s keys, so that no copy from before is found again';

COMMENT ON COLUMN leaderboards.last_generation IS 'the highest number a generation of this board was given';

CREATE FUNCTION definition(of_board integer, of_generation integer) RETURNS SETOF leaderboards
    LANGUAGE sql STABLE
    AS $$
    SELECT leaderboard_id, game_id, leaderboard, generation, title, operator, sort_order, ties, schedule,
           timezone, modes, min_score, max_score, status, base_until, created_at, index_shards, index_layout,
           last_generation
      FROM generations
     WHERE leaderboard_id = of_board AND generation = of_generation
$$;

CREATE FUNCTION detach_periods(until date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION enter_gate(game_ids integer[]) RETURNS TABLE(game_id integer, game text, rules_version bigint, archived boolean, now timestamp with time zone, first_period date, closed_until date, has_bans boolean)
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION erase_user(of_game integer, of_user text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
    nobody text := '~' || replace(gen_random_uuid()::text, '-', '');
    named text := '"' || of_user || '"';
    -- Of what a user id may hold, only the dot means something in a pattern.
    mention text := '(?<![[:alnum:]_])' || replace(of_user, '.', '\.') || '(?![[:alnum:]_])';
BEGIN
    DELETE FROM users WHERE game_id = of_game AND user_id = of_user;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    WITH gone AS (
        DELETE FROM session_results
         WHERE game_id = of_game AND user_id = of_user
        RETURNING period, session_id, score
    ), marked AS (
        -- A fingerprint is a hash of who scored what: it would tell whether a guess is right.
        UPDATE game_sessions AS s SET fingerprint = ''
          FROM gone
         WHERE s.game_id = of_game AND s.period = gone.period AND s.session_id = gone.session_id
    ), unnamed AS (
        UPDATE session_results AS r SET metadata = replace(r.metadata::text, named, to_json(nobody)::text)::jsonb
          FROM gone
         WHERE r.game_id = of_game AND r.period = gone.period AND r.session_id = gone.session_id
           AND r.user_id <> of_user AND strpos(r.metadata::text, named) > 0
    )
    INSERT INTO erased_results (game_id, period, session_id, anonymous_id, score)
    SELECT of_game, period, session_id, '~' || replace(gen_random_uuid()::text, '-', ''), score FROM gone;
    UPDATE game_sessions AS s SET void_reason = regexp_replace(s.void_reason, mention, nobody, 'g')
      FROM audit_log AS a
     WHERE a.game_id = of_game AND a.action = 'void' AND a.reason ~ mention
       AND s.game_id = of_game AND s.session_id = CASE WHEN a.action = 'void' THEN a.subject::uuid END;
    UPDATE audit_log SET reason = regexp_replace(reason, mention, nobody, 'g')
     WHERE game_id = of_game AND reason ~ mention;
    UPDATE audit_log SET subject = nobody, reason = NULL
     WHERE game_id = of_game AND subject = of_user AND action IN ('ban', 'unban', 'export');
    RETURN nobody;
END
$$;

CREATE FUNCTION fold(board leaderboards, until date DEFAULT 'infinity'::date, users text[] DEFAULT NULL::text[], only_season bigint DEFAULT NULL::bigint, after text DEFAULT NULL::text, upto text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, before timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(season bigint, user_id text, score bigint, reached_at bigint, session_id uuid)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'public', 'pg_temp'
    AS $_$
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
$_$;

CREATE FUNCTION fold_by_key(board leaderboards, users text[] DEFAULT NULL::text[], only_season bigint DEFAULT NULL::bigint, after text DEFAULT NULL::text, upto text DEFAULT NULL::text) RETURNS TABLE(season bigint, user_id text, score bigint, reached_at bigint, session_id uuid)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET join_collapse_limit TO '1'
    SET max_parallel_workers_per_gather TO '0'
    SET work_mem TO '64MB'
    AS $$
BEGIN
    RETURN QUERY SELECT * FROM fold(board, 'infinity', users, only_season, after, upto);
END
$$;

CREATE FUNCTION make_periods(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION record_batch(g_id integer[], g_rules bigint[], presumed bigint, since bigint, until bigint, changes jsonb, applied bigint[], p_game integer[], p_period date[], s_p integer[], s_id uuid[], s_fingerprint bytea[], s_mode text[], s_played bigint[], r_s integer[], r_user text[], r_score bigint[], r_metadata jsonb[], b_game integer[], b_id integer[], b_generation integer[], b_season bigint[], b_sign integer[], b_first boolean[], b_operator text[], f_b integer[], f_user text[], f_key bigint[], f_reached bigint[], f_session uuid[], o_id integer[], o_generation integer[]) RETURNS TABLE(leaderboard_id integer, generation integer, user_id text, season bigint, sort_key bigint, tiebreak bigint, version bigint, hidden boolean, is_new boolean)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    exact CONSTANT bigint := 9007199254740991;
    slack CONSTANT bigint := 1000000;
    game integer;
    recorded timestamptz;
    moment bigint;
    bans boolean;
    moved boolean;
    inserted bigint;
    entry text;
BEGIN
    -- As enter_gate does, without the cost of a second function.
    FOREACH game IN ARRAY g_id LOOP
        PERFORM pg_advisory_xact_lock_shared(1, game);
    END LOOP;
    SELECT max(greatest(clock_timestamp(), g.not_before)), bool_or(g.has_bans),
           bool_or(g.archived_at IS NOT NULL OR g.rules_version IS DISTINCT FROM g_rules[array_position(g_id, g.game_id)]
                   OR EXISTS (SELECT FROM unnest(p_period) AS period
                               WHERE period >= h.first_period AND period < h.closed_until))
      INTO recorded, bans, moved
      FROM history AS h CROSS JOIN games AS g
     WHERE g.game_id = ANY (g_id);
    moment := extract(epoch FROM recorded) * 1000000;
    IF moved OR moment NOT BETWEEN presumed - slack AND presumed + slack OR moment < since OR moment >= until THEN
        user_id := 'moved';
        RETURN NEXT;
        RETURN;
    END IF;
    -- What is refused is caught here: a transaction that fails would fill the server's log with what is no fault.
    BEGIN
        INSERT INTO game_sessions (game_id, period, session_id, fingerprint, mode, played_at, recorded_at)
        SELECT p_game[coalesce(p, 1)], p_period[coalesce(p, 1)], id, fingerprint, mode,
               timestamptz 'epoch' + played * interval '1 microsecond', recorded
          FROM unnest(s_p, s_id, s_fingerprint, s_mode, s_played) AS s (p, id, fingerprint, mode, played)
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        IF inserted < cardinality(s_id) THEN
            RAISE EXCEPTION 'a session is known' USING ERRCODE = 'LB002';
        END IF;

        RETURN QUERY
            WITH merged AS (
                INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
                SELECT b_id[coalesce(b, 1)], b_generation[coalesce(b, 1)], b_season[coalesce(b, 1)], f.user_id,
                       key * b_sign[coalesce(b, 1)], key, CASE WHEN b_first[coalesce(b, 1)] THEN abs(reached) ELSE 0 END,
                       reached, session,
                       bans AND EXISTS (SELECT FROM users AS u
                                         WHERE u.game_id = b_game[coalesce(b, 1)] AND u.user_id = f.user_id
                                           AND u.banned_at IS NOT NULL)
                  FROM unnest(f_b, f_user, f_key, f_reached, f_session) AS f (b, user_id, key, reached, session)
                 WHERE b_operator[coalesce(b, 1)] IN ('sum', 'count')
                ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
                   SET score = CASE WHEN e.deleted_at IS NULL THEN e.score ELSE 0 END + EXCLUDED.score,
                       sort_key = CASE WHEN e.deleted_at IS NULL THEN e.sort_key ELSE 0 END + EXCLUDED.sort_key,
                       reached_at = CASE WHEN e.deleted_at IS NULL THEN greatest(e.reached_at, EXCLUDED.reached_at)
                                         ELSE EXCLUDED.reached_at END,
                       tiebreak = CASE WHEN EXCLUDED.tiebreak = 0 OR e.deleted_at IS NOT NULL THEN EXCLUDED.tiebreak
                                       ELSE abs(greatest(e.reached_at, EXCLUDED.reached_at)) END,
                       version = nextval('entry_version'),
                       hidden = EXCLUDED.hidden,
                       deleted_at = NULL
                RETURNING e.leaderboard_id, e.generation, e.user_id, e.season,
                          CASE WHEN abs(e.sort_key) <= exact
                                    OR (e.leaderboard_id, e.generation) IN (SELECT * FROM unnest(o_id, o_generation))
                               THEN e.sort_key
                               ELSE refuse_total(e.leaderboard_id, e.generation, e.season, e.user_id) END AS sort_key,
                          e.tiebreak, e.version, e.hidden, e.xmax = 0 AS is_new
            ), results AS MATERIALIZED (
                SELECT coalesce(s, n) AS s, coalesce(s_p[coalesce(s, n)], 1) AS p, user_id, score, metadata
                  FROM unnest(r_s, r_user, r_score, r_metadata) WITH ORDINALITY AS r (s, user_id, score, metadata, n)
            ), known AS (
                INSERT INTO users (game_id, user_id)
                SELECT DISTINCT p_game[p], user_id COLLATE "C" FROM results ORDER BY 1, 2
                ON CONFLICT DO NOTHING
            ), appended AS (
                INSERT INTO session_results (game_id, period, session_id, user_id, score, played_at, metadata)
                SELECT p_game[p], p_period[p], s_id[s], user_id, score,
                       timestamptz 'epoch' + s_played[s] * interval '1 microsecond', metadata
                  FROM results
            ), dropped AS (
                DELETE FROM outbox
                 WHERE outbox_id IN (SELECT outbox_id FROM outbox WHERE outbox_id = ANY (applied) FOR UPDATE SKIP LOCKED)
            ), queued AS (
                INSERT INTO outbox (changes) VALUES (changes) RETURNING outbox_id
            )
            SELECT NULL::integer, NULL::integer, 'recorded', NULL::bigint, moment, NULL::bigint, outbox_id,
                   NULL::boolean, NULL::boolean
              FROM queued
            UNION ALL
            SELECT * FROM merged;
        IF 'best' = ANY (b_operator) THEN
            RETURN QUERY
                INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
                SELECT b_id[coalesce(b, 1)], b_generation[coalesce(b, 1)], b_season[coalesce(b, 1)], f.user_id,
                       key * b_sign[coalesce(b, 1)], key, CASE WHEN b_first[coalesce(b, 1)] THEN abs(reached) ELSE 0 END,
                       reached, session,
                       bans AND EXISTS (SELECT FROM users AS u
                                         WHERE u.game_id = b_game[coalesce(b, 1)] AND u.user_id = f.user_id
                                           AND u.banned_at IS NOT NULL)
                  FROM unnest(f_b, f_user, f_key, f_reached, f_session) AS f (b, user_id, key, reached, session)
                 WHERE b_operator[coalesce(b, 1)] = 'best'
                ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
                   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.score ELSE e.score END,
                       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.sort_key ELSE e.sort_key END,
                       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
                       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.reached_at ELSE e.reached_at END,
                       version = nextval('entry_version'),
                       hidden = EXCLUDED.hidden,
                       deleted_at = NULL
                RETURNING e.leaderboard_id, e.generation, e.user_id, e.season, e.sort_key, e.tiebreak, e.version, e.hidden, e.xmax = 0;
        END IF;
        IF 'latest' = ANY (b_operator) THEN
            RETURN QUERY
                INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
                SELECT b_id[coalesce(b, 1)], b_generation[coalesce(b, 1)], b_season[coalesce(b, 1)], f.user_id,
                       key * b_sign[coalesce(b, 1)], key, CASE WHEN b_first[coalesce(b, 1)] THEN abs(reached) ELSE 0 END,
                       reached, session,
                       bans AND EXISTS (SELECT FROM users AS u
                                         WHERE u.game_id = b_game[coalesce(b, 1)] AND u.user_id = f.user_id
                                           AND u.banned_at IS NOT NULL)
                  FROM unnest(f_b, f_user, f_key, f_reached, f_session) AS f (b, user_id, key, reached, session)
                 WHERE b_operator[coalesce(b, 1)] = 'latest'
                ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
                   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.score ELSE e.score END,
                       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.sort_key ELSE e.sort_key END,
                       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
                       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.reached_at ELSE e.reached_at END,
                       session_id = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.session_id ELSE e.session_id END,
                       version = nextval('entry_version'),
                       hidden = EXCLUDED.hidden,
                       deleted_at = NULL
                RETURNING e.leaderboard_id, e.generation, e.user_id, e.season, e.sort_key, e.tiebreak, e.version, e.hidden, e.xmax = 0;
        END IF;
    EXCEPTION
        WHEN SQLSTATE 'LB001' THEN
            GET STACKED DIAGNOSTICS entry = PG_EXCEPTION_DETAIL;
            RETURN QUERY
                SELECT (entry::json->>0)::integer, (entry::json->>1)::integer, entry::json->>3, (entry::json->>2)::bigint,
                       NULL::bigint, NULL::bigint, NULL::bigint, NULL::boolean, NULL::boolean;
            user_id := 'beyond';
            RETURN NEXT;
        WHEN SQLSTATE 'LB002' THEN
            user_id := 'known';
            RETURN NEXT;
    END;
END
$$;

CREATE FUNCTION record_batch(g_id integer[], g_rules bigint[], presumed bigint, since bigint, until bigint, changes jsonb, applied bigint[], p_game integer[], p_period date[], s_p integer[], s_id uuid[], s_fingerprint bytea[], s_mode text[], s_played bigint[], r_s integer[], r_user text[], r_score bigint[], r_metadata jsonb[], b_game integer[], b_id integer[], b_generation integer[], b_season bigint[], b_sign integer[], b_first boolean[], b_operator text[], f_b integer[], f_user text[], f_key bigint[], f_reached bigint[], f_session uuid[], o_id integer[], o_generation integer[], u_game integer[], u_user text[]) RETURNS TABLE(leaderboard_id integer, generation integer, user_id text, season bigint, sort_key bigint, tiebreak bigint, version bigint, hidden boolean, is_new boolean)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    exact CONSTANT bigint := 9007199254740991;
    slack CONSTANT bigint := 1000000;
    game integer;
    recorded timestamptz;
    moment bigint;
    bans boolean;
    moved boolean;
    inserted bigint;
    entry text;
BEGIN
    -- As enter_gate does, without the cost of a second function.
    FOREACH game IN ARRAY g_id LOOP
        PERFORM pg_advisory_xact_lock_shared(1, game);
    END LOOP;
    SELECT max(greatest(clock_timestamp(), g.not_before)), bool_or(g.has_bans),
           bool_or(g.archived_at IS NOT NULL OR g.rules_version IS DISTINCT FROM g_rules[array_position(g_id, g.game_id)]
                   OR EXISTS (SELECT FROM unnest(p_period) AS period
                               WHERE period >= h.first_period AND period < h.closed_until))
      INTO recorded, bans, moved
      FROM history AS h CROSS JOIN games AS g
     WHERE g.game_id = ANY (g_id);
    moment := extract(epoch FROM recorded) * 1000000;
    IF moved OR moment NOT BETWEEN presumed - slack AND presumed + slack OR moment < since OR moment >= until THEN
        user_id := 'moved';
        RETURN NEXT;
        RETURN;
    END IF;
    -- What is refused is caught here: a transaction that fails would fill the server's log with what is no fault.
    BEGIN
        INSERT INTO game_sessions (game_id, period, session_id, fingerprint, mode, played_at, recorded_at)
        SELECT p_game[coalesce(p, 1)], p_period[coalesce(p, 1)], id, fingerprint, mode,
               timestamptz 'epoch' + played * interval '1 microsecond', recorded
          FROM unnest(s_p, s_id, s_fingerprint, s_mode, s_played) AS s (p, id, fingerprint, mode, played)
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        IF inserted < cardinality(s_id) THEN
            RAISE EXCEPTION 'a session is known' USING ERRCODE = 'LB002';
        END IF;

        RETURN QUERY
            WITH contributions AS MATERIALIZED (
                SELECT b_operator[b] AS operator, b_id[b] AS leaderboard_id, b_generation[b] AS generation, b_season[b] AS season,
                       f.user_id, key * b_sign[b] AS score, key AS sort_key,
                       CASE WHEN b_first[b] THEN abs(reached) ELSE 0 END AS tiebreak, reached AS reached_at, session AS session_id,
                       bans AND EXISTS (SELECT FROM users AS u
                                         WHERE u.game_id = b_game[b] AND u.user_id = f.user_id AND u.banned_at IS NOT NULL) AS hidden
                  FROM (SELECT coalesce(b, 1) AS b, user_id, key, reached, session
                          FROM unnest(f_b, f_user, f_key, f_reached, f_session) AS f (b, user_id, key, reached, session)) AS f
            ), merged AS (
                INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
                SELECT leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden
                  FROM contributions
                 WHERE operator IN ('sum', 'count')
                ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
                   SET score = CASE WHEN e.deleted_at IS NULL THEN e.score ELSE 0 END + EXCLUDED.score,
                       sort_key = CASE WHEN e.deleted_at IS NULL THEN e.sort_key ELSE 0 END + EXCLUDED.sort_key,
                       reached_at = CASE WHEN e.deleted_at IS NULL THEN greatest(e.reached_at, EXCLUDED.reached_at)
                                         ELSE EXCLUDED.reached_at END,
                       tiebreak = CASE WHEN EXCLUDED.tiebreak = 0 OR e.deleted_at IS NOT NULL THEN EXCLUDED.tiebreak
                                       ELSE abs(greatest(e.reached_at, EXCLUDED.reached_at)) END,
                       version = nextval('entry_version'),
                       hidden = EXCLUDED.hidden,
                       deleted_at = NULL
                RETURNING e.leaderboard_id, e.generation, e.user_id, e.season,
                          CASE WHEN abs(e.sort_key) <= exact
                                    OR (e.leaderboard_id, e.generation) IN (SELECT * FROM unnest(o_id, o_generation))
                               THEN e.sort_key
                               ELSE refuse_total(e.leaderboard_id, e.generation, e.season, e.user_id) END AS sort_key,
                          e.tiebreak, e.version, e.hidden, e.xmax = 0 AS is_new
            ), bettered AS (
                INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
                SELECT leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden
                  FROM contributions
                 WHERE operator = 'best'
                ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
                   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.score ELSE e.score END,
                       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.sort_key ELSE e.sort_key END,
                       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
                       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.sort_key, EXCLUDED.reached_at) < (e.sort_key, e.reached_at) THEN EXCLUDED.reached_at ELSE e.reached_at END,
                       version = nextval('entry_version'),
                       hidden = EXCLUDED.hidden,
                       deleted_at = NULL
                RETURNING e.leaderboard_id, e.generation, e.user_id, e.season, e.sort_key, e.tiebreak, e.version, e.hidden,
                          e.xmax = 0 AS is_new
            ), replaced AS (
                INSERT INTO entries AS e (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden)
                SELECT leaderboard_id, generation, season, user_id, score, sort_key, tiebreak, reached_at, session_id, hidden
                  FROM contributions
                 WHERE operator = 'latest'
                ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE
                   SET score = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.score ELSE e.score END,
                       sort_key = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.sort_key ELSE e.sort_key END,
                       tiebreak = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.tiebreak ELSE e.tiebreak END,
                       reached_at = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.reached_at ELSE e.reached_at END,
                       session_id = CASE WHEN e.deleted_at IS NOT NULL OR (EXCLUDED.reached_at, EXCLUDED.session_id) > (e.reached_at, e.session_id) THEN EXCLUDED.session_id ELSE e.session_id END,
                       version = nextval('entry_version'),
                       hidden = EXCLUDED.hidden,
                       deleted_at = NULL
                RETURNING e.leaderboard_id, e.generation, e.user_id, e.season, e.sort_key, e.tiebreak, e.version, e.hidden,
                          e.xmax = 0 AS is_new
            ), changed AS NOT MATERIALIZED (
                SELECT * FROM merged UNION ALL SELECT * FROM bettered UNION ALL SELECT * FROM replaced
            ), results AS MATERIALIZED (
                SELECT coalesce(s, n) AS s, coalesce(s_p[coalesce(s, n)], 1) AS p, user_id, score, metadata
                  FROM unnest(r_s, r_user, r_score, r_metadata) WITH ORDINALITY AS r (s, user_id, score, metadata, n)
            ), appended AS (
                INSERT INTO session_results (game_id, period, session_id, user_id, score, played_at, metadata)
                SELECT p_game[p], p_period[p], s_id[s], user_id, score,
                       timestamptz 'epoch' + s_played[s] * interval '1 microsecond', metadata
                  FROM results
            ), known AS (
                -- The entry of someone erased stays a while, as a tombstone, without a user.
                INSERT INTO users (game_id, user_id)
                SELECT b_game[array_position(b_id, leaderboard_id)], user_id
                  FROM changed
                 WHERE is_new OR user_id IN (SELECT x.user_id FROM erasures AS x WHERE x.game_id = ANY (g_id))
                 UNION
                SELECT * FROM unnest(u_game, u_user)
                 ORDER BY 1, 2
                ON CONFLICT DO NOTHING
            ), dropped AS (
                DELETE FROM outbox
                 WHERE outbox_id IN (SELECT outbox_id FROM outbox WHERE outbox_id = ANY (applied) FOR UPDATE SKIP LOCKED)
            ), queued AS (
                INSERT INTO outbox (changes) VALUES (changes) RETURNING outbox_id
            )
            SELECT NULL::integer, NULL::integer, 'recorded', NULL::bigint, moment, NULL::bigint, outbox_id,
                   NULL::boolean, NULL::boolean
              FROM queued
            UNION ALL
            SELECT * FROM changed;
    EXCEPTION
        WHEN SQLSTATE 'LB001' THEN
            GET STACKED DIAGNOSTICS entry = PG_EXCEPTION_DETAIL;
            RETURN QUERY
                SELECT (entry::json->>0)::integer, (entry::json->>1)::integer, entry::json->>3, (entry::json->>2)::bigint,
                       NULL::bigint, NULL::bigint, NULL::bigint, NULL::boolean, NULL::boolean;
            user_id := 'beyond';
            RETURN NEXT;
        WHEN SQLSTATE 'LB002' THEN
            user_id := 'known';
            RETURN NEXT;
    END;
END
$$;

CREATE FUNCTION refuse_total(leaderboard integer, generation integer, season bigint, user_id text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'a total is out of range'
        USING ERRCODE = 'LB001', DETAIL = json_build_array(leaderboard, generation, season, user_id)::text;
END
$$;

CREATE TABLE announcements (
    announcement_id bigint NOT NULL,
    event_id uuid DEFAULT gen_random_uuid() NOT NULL,
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    digest text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    status text DEFAULT 'waiting'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    error text,
    CONSTRAINT announcements_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'delivered'::text, 'given_up'::text, 'outdated'::text])))
);

COMMENT ON COLUMN announcements.event_id IS 'the same at every attempt: receivers tell by it what they have';

COMMENT ON COLUMN announcements.next_at IS 'when it is tried next; while it is being sent, when another replica may take over';

ALTER TABLE announcements ALTER COLUMN announcement_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME announcements_announcement_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE audit_log (
    audit_id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    game_id integer NOT NULL,
    key_id text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    reason text
);

ALTER TABLE audit_log ALTER COLUMN audit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME audit_log_audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE builds (
    leaderboard_id integer NOT NULL,
    game_id integer NOT NULL,
    leaderboard text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    title text,
    operator text NOT NULL,
    sort_order text NOT NULL,
    ties text NOT NULL,
    schedule text,
    timezone text NOT NULL,
    modes text[],
    min_score bigint NOT NULL,
    max_score bigint NOT NULL,
    index_shards integer NOT NULL,
    base_until date DEFAULT '-infinity'::date NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    carries boolean NOT NULL,
    users_total bigint,
    users_done bigint DEFAULT 0 NOT NULL,
    user_id text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    failure_code text,
    failure text,
    cleared boolean DEFAULT false NOT NULL,
    CONSTRAINT builds_check CHECK (((failure_code IS NULL) = (failure IS NULL)))
);

COMMENT ON COLUMN builds.carries IS 'results add the same as before: base and seasons of the present generation are taken over';

COMMENT ON COLUMN builds.users_total IS 'null until base and seasons are there';

COMMENT ON COLUMN builds.user_id IS 'users up to this one are folded';

COMMENT ON COLUMN builds.cleared IS 'it failed, and its entries are on their way out';

CREATE TABLE discarded (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    discarded_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE SEQUENCE entry_version
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE entries (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    score bigint NOT NULL,
    sort_key bigint NOT NULL,
    tiebreak bigint DEFAULT 0 NOT NULL,
    reached_at bigint NOT NULL,
    session_id uuid,
    version bigint DEFAULT nextval('entry_version'::regclass) NOT NULL,
    hidden boolean DEFAULT false NOT NULL,
    deleted_at timestamp with time zone
)
WITH (fillfactor='90');

COMMENT ON COLUMN entries.season IS 'its start in Unix seconds; 0: the endless season';

COMMENT ON COLUMN entries.sort_key IS 'smaller is better: the score, or its negative where high wins';

COMMENT ON COLUMN entries.tiebreak IS 'smaller is better among equal scores: microseconds for ties = first, else 0';

COMMENT ON COLUMN entries.reached_at IS 'the fold''s time in microseconds, see rules.py';

COMMENT ON COLUMN entries.session_id IS 'for operator latest: the session that set the score';

COMMENT ON COLUMN entries.version IS 'fences the ranking index: an older version is refused';

COMMENT ON COLUMN entries.deleted_at IS 'a tombstone: the row stays an hour so that its version is known';

CREATE TABLE entry_base (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    score bigint NOT NULL,
    reached_at bigint NOT NULL,
    session_id uuid,
    season bigint NOT NULL
);

CREATE TABLE erased_results (
    game_id integer NOT NULL,
    period date NOT NULL,
    session_id uuid NOT NULL,
    anonymous_id text NOT NULL COLLATE pg_catalog."C",
    score bigint NOT NULL
);

CREATE TABLE erasures (
    erasure_id bigint NOT NULL,
    game_id integer NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    erased_at timestamp with time zone DEFAULT now() NOT NULL,
    rankings jsonb
);

COMMENT ON COLUMN erasures.rankings IS '[[leaderboard_id, generation, season, version], ...] of the tombstones, once these are deleted';

ALTER TABLE erasures ALTER COLUMN erasure_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME erasures_erasure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE final_standings (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    place bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    rank bigint NOT NULL,
    ties bigint NOT NULL,
    better bigint NOT NULL,
    score bigint NOT NULL
);

COMMENT ON COLUMN final_standings.better IS 'players with a strictly better score';

CREATE TABLE game_sessions (
    game_id integer NOT NULL,
    period date NOT NULL,
    session_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    mode text,
    played_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    voided_at timestamp with time zone,
    void_reason text
)
PARTITION BY RANGE (period);

COMMENT ON COLUMN game_sessions.fingerprint IS 'of the request as sent, before defaults: tells a replay from a conflict';

CREATE TABLE games (
    game_id integer NOT NULL,
    game text NOT NULL COLLATE pg_catalog."C",
    title text,
    rules_version bigint DEFAULT 1 NOT NULL,
    has_bans boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    archived_at timestamp with time zone,
    not_before timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL
);

COMMENT ON COLUMN games.rules_version IS 'bumped, under the exclusive gate, by whatever changes what a result counts for';

COMMENT ON COLUMN games.not_before IS 'no batch is earlier than this, whatever its clock says: a season was closed then';

ALTER TABLE games ALTER COLUMN game_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME games_game_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW generations AS
 SELECT leaderboards.leaderboard_id,
    leaderboards.game_id,
    leaderboards.leaderboard,
    leaderboards.generation,
    leaderboards.title,
    leaderboards.operator,
    leaderboards.sort_order,
    leaderboards.ties,
    leaderboards.schedule,
    leaderboards.timezone,
    leaderboards.modes,
    leaderboards.min_score,
    leaderboards.max_score,
    leaderboards.status,
    leaderboards.base_until,
    leaderboards.created_at,
    leaderboards.index_shards,
    leaderboards.index_layout,
    leaderboards.last_generation,
    false AS building
   FROM leaderboards
  WHERE (leaderboards.status = 'ready'::text)
UNION ALL
 SELECT builds.leaderboard_id,
    builds.game_id,
    builds.leaderboard,
    builds.generation,
    builds.title,
    builds.operator,
    builds.sort_order,
    builds.ties,
    builds.schedule,
    builds.timezone,
    builds.modes,
    builds.min_score,
    builds.max_score,
    'building'::text AS status,
    builds.base_until,
    builds.started_at AS created_at,
    builds.index_shards,
    0 AS index_layout,
    builds.generation AS last_generation,
    true AS building
   FROM builds
  WHERE (builds.failure_code IS NULL);

CREATE TABLE history (
    only_row boolean DEFAULT true NOT NULL,
    first_period date NOT NULL,
    closed_until date NOT NULL,
    CONSTRAINT history_only_row_check CHECK (only_row)
);

ALTER TABLE leaderboards ALTER COLUMN leaderboard_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME leaderboards_leaderboard_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE outbox (
    outbox_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changes jsonb NOT NULL
);

COMMENT ON COLUMN outbox.changes IS '[[leaderboard_id, generation, season, [user_id, ...]], ...] for entries, [[game_id, [user_id, ...]]] for profiles; the row goes once they are applied';

ALTER TABLE outbox ALTER COLUMN outbox_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox_outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE seasons (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    closes_at timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    sealed_at timestamp with time zone,
    total bigint,
    digest text,
    previous_digests jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT seasons_check CHECK ((closes_at >= ends_at)),
    CONSTRAINT seasons_check1 CHECK (((sealed_at IS NULL) OR ((closed_at IS NOT NULL) AND (total IS NOT NULL) AND (digest IS NOT NULL))))
);

COMMENT ON COLUMN seasons.season IS 'its start in Unix seconds';

COMMENT ON COLUMN seasons.closes_at IS 'results recorded from then on do not count: its end and the grace';

COMMENT ON COLUMN seasons.closed_at IS 'when, alone behind the gate, it was made sure that no batch adds to it any more';

COMMENT ON COLUMN seasons.digest IS 'SHA-256 of the sealed standings, see rules.py';

COMMENT ON COLUMN seasons.previous_digests IS '[{"digest", "total", "sealed_at"}, ...] of standings sealed before, oldest first';

CREATE TABLE session_results (
    game_id integer NOT NULL,
    period date NOT NULL,
    session_id uuid NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    score bigint NOT NULL,
    played_at timestamp with time zone NOT NULL,
    metadata jsonb
)
PARTITION BY RANGE (period);

CREATE TABLE snapshot_ranks (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    day date NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    rank bigint NOT NULL,
    score bigint NOT NULL
);

CREATE TABLE snapshots (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    day date NOT NULL,
    version_until bigint NOT NULL,
    total bigint NOT NULL,
    taken_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON COLUMN snapshots.version_until IS 'later changes of entries have greater versions';

CREATE TABLE users (
    game_id integer NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    display_name text,
    country text,
    avatar_url text,
    banned_at timestamp with time zone,
    ban_reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE webhooks (
    leaderboard_id integer NOT NULL,
    url text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

COMMENT ON COLUMN webhooks.since IS 'seasons that had closed by then are not announced';

ALTER TABLE ONLY announcements
    ADD CONSTRAINT announcements_pkey PRIMARY KEY (announcement_id);

ALTER TABLE ONLY audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (audit_id);

ALTER TABLE ONLY builds
    ADD CONSTRAINT builds_pkey PRIMARY KEY (leaderboard_id);

ALTER TABLE ONLY discarded
    ADD CONSTRAINT discarded_pkey PRIMARY KEY (leaderboard_id, generation);

ALTER TABLE ONLY entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (leaderboard_id, generation, season, user_id);

ALTER TABLE ONLY entry_base
    ADD CONSTRAINT entry_base_pkey PRIMARY KEY (leaderboard_id, generation, season, user_id);

ALTER TABLE ONLY erased_results
    ADD CONSTRAINT erased_results_pkey PRIMARY KEY (game_id, period, session_id, anonymous_id);

ALTER TABLE ONLY erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (erasure_id);

ALTER TABLE ONLY final_standings
    ADD CONSTRAINT final_standings_leaderboard_id_generation_season_user_id_key UNIQUE (leaderboard_id, generation, season, user_id);

ALTER TABLE ONLY final_standings
    ADD CONSTRAINT final_standings_pkey PRIMARY KEY (leaderboard_id, generation, season, place);

ALTER TABLE ONLY game_sessions
    ADD CONSTRAINT game_sessions_pkey PRIMARY KEY (game_id, period, session_id);

ALTER TABLE ONLY games
    ADD CONSTRAINT games_game_key UNIQUE (game);

ALTER TABLE ONLY games
    ADD CONSTRAINT games_pkey PRIMARY KEY (game_id);

ALTER TABLE ONLY history
    ADD CONSTRAINT history_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY leaderboards
    ADD CONSTRAINT leaderboards_game_id_leaderboard_key UNIQUE (game_id, leaderboard);

ALTER TABLE ONLY leaderboards
    ADD CONSTRAINT leaderboards_pkey PRIMARY KEY (leaderboard_id);

ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id);

ALTER TABLE ONLY seasons
    ADD CONSTRAINT seasons_pkey PRIMARY KEY (leaderboard_id, generation, season);

ALTER TABLE ONLY session_results
    ADD CONSTRAINT session_results_pkey PRIMARY KEY (game_id, period, session_id, user_id);

ALTER TABLE ONLY snapshot_ranks
    ADD CONSTRAINT snapshot_ranks_pkey PRIMARY KEY (leaderboard_id, generation, season, day, user_id);

ALTER TABLE ONLY snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (leaderboard_id, generation, season, day);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_pkey PRIMARY KEY (game_id, user_id);

ALTER TABLE ONLY webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (leaderboard_id);

CREATE INDEX announcements_due ON announcements USING btree (next_at) WHERE (status = 'waiting'::text);

CREATE INDEX announcements_ended ON announcements USING btree (ended_at) WHERE (status <> 'waiting'::text);

CREATE INDEX announcements_of_board ON announcements USING btree (leaderboard_id, announcement_id);

CREATE INDEX audit_log_by_game ON audit_log USING btree (game_id, audit_id);

CREATE INDEX entries_deleted ON entries USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);

CREATE INDEX entries_hidden ON entries USING btree (leaderboard_id, generation, season, user_id) WHERE hidden;

CREATE INDEX entries_rank ON entries USING btree (leaderboard_id, generation, season, sort_key, tiebreak, user_id) WHERE ((NOT hidden) AND (deleted_at IS NULL));

CREATE INDEX game_sessions_by_time ON ONLY game_sessions USING btree (game_id, played_at, session_id);

CREATE INDEX seasons_due ON seasons USING btree (closes_at) WHERE (sealed_at IS NULL);

CREATE INDEX session_results_by_user ON ONLY session_results USING btree (game_id, user_id, played_at, session_id);

CREATE INDEX users_by_name ON users USING btree (game_id, lower(display_name) text_pattern_ops, user_id) WHERE (display_name IS NOT NULL);

ALTER TABLE ONLY leaderboards
    ADD CONSTRAINT leaderboards_game_id_fkey FOREIGN KEY (game_id) REFERENCES games(game_id);

ALTER TABLE ONLY webhooks
    ADD CONSTRAINT webhooks_leaderboard_id_fkey FOREIGN KEY (leaderboard_id) REFERENCES leaderboards(leaderboard_id) ON DELETE CASCADE;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE leaderboards TO leaderboard_score;
GRANT SELECT ON TABLE leaderboards TO leaderboard_rank;

REVOKE ALL ON FUNCTION detach_periods(until date) FROM PUBLIC;
GRANT ALL ON FUNCTION detach_periods(until date) TO leaderboard_score;

REVOKE ALL ON FUNCTION enter_gate(game_ids integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION enter_gate(game_ids integer[]) TO leaderboard_score;

REVOKE ALL ON FUNCTION erase_user(of_game integer, of_user text) FROM PUBLIC;
GRANT ALL ON FUNCTION erase_user(of_game integer, of_user text) TO leaderboard_score;

REVOKE ALL ON FUNCTION make_periods(months_ahead integer) FROM PUBLIC;
GRANT ALL ON FUNCTION make_periods(months_ahead integer) TO leaderboard_score;

REVOKE ALL ON FUNCTION record_batch(g_id integer[], g_rules bigint[], presumed bigint, since bigint, until bigint, changes jsonb, applied bigint[], p_game integer[], p_period date[], s_p integer[], s_id uuid[], s_fingerprint bytea[], s_mode text[], s_played bigint[], r_s integer[], r_user text[], r_score bigint[], r_metadata jsonb[], b_game integer[], b_id integer[], b_generation integer[], b_season bigint[], b_sign integer[], b_first boolean[], b_operator text[], f_b integer[], f_user text[], f_key bigint[], f_reached bigint[], f_session uuid[], o_id integer[], o_generation integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION record_batch(g_id integer[], g_rules bigint[], presumed bigint, since bigint, until bigint, changes jsonb, applied bigint[], p_game integer[], p_period date[], s_p integer[], s_id uuid[], s_fingerprint bytea[], s_mode text[], s_played bigint[], r_s integer[], r_user text[], r_score bigint[], r_metadata jsonb[], b_game integer[], b_id integer[], b_generation integer[], b_season bigint[], b_sign integer[], b_first boolean[], b_operator text[], f_b integer[], f_user text[], f_key bigint[], f_reached bigint[], f_session uuid[], o_id integer[], o_generation integer[]) TO leaderboard_score;

REVOKE ALL ON FUNCTION record_batch(g_id integer[], g_rules bigint[], presumed bigint, since bigint, until bigint, changes jsonb, applied bigint[], p_game integer[], p_period date[], s_p integer[], s_id uuid[], s_fingerprint bytea[], s_mode text[], s_played bigint[], r_s integer[], r_user text[], r_score bigint[], r_metadata jsonb[], b_game integer[], b_id integer[], b_generation integer[], b_season bigint[], b_sign integer[], b_first boolean[], b_operator text[], f_b integer[], f_user text[], f_key bigint[], f_reached bigint[], f_session uuid[], o_id integer[], o_generation integer[], u_game integer[], u_user text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION record_batch(g_id integer[], g_rules bigint[], presumed bigint, since bigint, until bigint, changes jsonb, applied bigint[], p_game integer[], p_period date[], s_p integer[], s_id uuid[], s_fingerprint bytea[], s_mode text[], s_played bigint[], r_s integer[], r_user text[], r_score bigint[], r_metadata jsonb[], b_game integer[], b_id integer[], b_generation integer[], b_season bigint[], b_sign integer[], b_first boolean[], b_operator text[], f_b integer[], f_user text[], f_key bigint[], f_reached bigint[], f_session uuid[], o_id integer[], o_generation integer[], u_game integer[], u_user text[]) TO leaderboard_score;

REVOKE ALL ON FUNCTION refuse_total(leaderboard integer, generation integer, season bigint, user_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION refuse_total(leaderboard integer, generation integer, season bigint, user_id text) TO leaderboard_score;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE announcements TO leaderboard_score;

GRANT SELECT,INSERT ON TABLE audit_log TO leaderboard_score;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE builds TO leaderboard_score;
GRANT SELECT ON TABLE builds TO leaderboard_rank;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE discarded TO leaderboard_score;

GRANT SELECT,USAGE ON SEQUENCE entry_version TO leaderboard_score;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE entries TO leaderboard_score;
GRANT SELECT ON TABLE entries TO leaderboard_rank;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE entry_base TO leaderboard_score;

GRANT SELECT,DELETE ON TABLE erased_results TO leaderboard_score;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE erasures TO leaderboard_score;

GRANT SELECT,INSERT,DELETE ON TABLE final_standings TO leaderboard_score;
GRANT SELECT ON TABLE final_standings TO leaderboard_rank;

GRANT SELECT,INSERT,UPDATE ON TABLE game_sessions TO leaderboard_score;
GRANT SELECT ON TABLE game_sessions TO leaderboard_rank;

GRANT SELECT,INSERT,UPDATE ON TABLE games TO leaderboard_score;
GRANT SELECT ON TABLE games TO leaderboard_rank;

GRANT SELECT ON TABLE generations TO leaderboard_score;

GRANT SELECT,UPDATE ON TABLE history TO leaderboard_score;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE outbox TO leaderboard_score;
GRANT SELECT ON TABLE outbox TO leaderboard_rank;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE seasons TO leaderboard_score;
GRANT SELECT ON TABLE seasons TO leaderboard_rank;

GRANT SELECT,INSERT ON TABLE session_results TO leaderboard_score;
GRANT SELECT ON TABLE session_results TO leaderboard_rank;

GRANT SELECT,INSERT,DELETE ON TABLE snapshot_ranks TO leaderboard_score;
GRANT SELECT ON TABLE snapshot_ranks TO leaderboard_rank;

GRANT SELECT,INSERT,DELETE ON TABLE snapshots TO leaderboard_score;
GRANT SELECT ON TABLE snapshots TO leaderboard_rank;

GRANT SELECT,INSERT,UPDATE ON TABLE users TO leaderboard_score;
GRANT SELECT ON TABLE users TO leaderboard_rank;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE webhooks TO leaderboard_score;
