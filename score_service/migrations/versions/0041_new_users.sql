-- A batch says who is new by what it did to entries: a user who had one is known, and is not looked up again. The
-- call of before stays for services that were not replaced yet.

-- Arrays of one prefix belong together: g_ games; p_ places in the history (game and period); s_ sessions (p: its
-- place, 1 where null); r_ results (s: its session, its own number where null); b_ rankings; f_ contributions to
-- entries (b: its ranking, 1 where null); o_ generations being built, whose totals may be out of range; u_ users whose
-- sessions count nowhere. Times are microseconds since 1970. Sessions, and the contributions of each operator, come in
-- the order of their keys: the order in which every transaction locks. Users, who have a row from their first entry on,
-- are locked last.
--
-- Returns a row without a leaderboard, whose user_id says what became of the batch, and the entries as they are
-- now. `recorded`: sort_key is when, version the outbox's row. Else nothing was, and that row is the last: it is not
-- as presumed (`moved`), some of the sessions are known (`known`), or a total would be out of range (`beyond`: the
-- row before names the entry).
CREATE FUNCTION record_batch(
    g_id integer[], g_rules bigint[], presumed bigint, since bigint, until bigint, changes jsonb, applied bigint[],
    p_game integer[], p_period date[],
    s_p integer[], s_id uuid[], s_fingerprint bytea[], s_mode text[], s_played bigint[],
    r_s integer[], r_user text[], r_score bigint[], r_metadata jsonb[],
    b_game integer[], b_id integer[], b_generation integer[], b_season bigint[], b_sign integer[], b_first boolean[],
    b_operator text[],
    f_b integer[], f_user text[], f_key bigint[], f_reached bigint[], f_session uuid[],
    o_id integer[], o_generation integer[], u_game integer[], u_user text[])
RETURNS TABLE (leaderboard_id integer, generation integer, user_id text, season bigint, sort_key bigint, tiebreak bigint,
               version bigint, hidden boolean, is_new boolean)
LANGUAGE plpgsql AS $$
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
REVOKE ALL ON FUNCTION record_batch(
    integer[], bigint[], bigint, bigint, bigint, jsonb, bigint[], integer[], date[],
    integer[], uuid[], bytea[], text[], bigint[], integer[], text[], bigint[], jsonb[],
    integer[], integer[], integer[], bigint[], integer[], boolean[], text[],
    integer[], text[], bigint[], bigint[], uuid[], integer[], integer[], integer[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_batch(
    integer[], bigint[], bigint, bigint, bigint, jsonb, bigint[], integer[], date[],
    integer[], uuid[], bytea[], text[], bigint[], integer[], text[], bigint[], jsonb[],
    integer[], integer[], integer[], bigint[], integer[], boolean[], text[],
    integer[], text[], bigint[], bigint[], uuid[], integer[], integer[], integer[], text[]) TO leaderboard_score;
