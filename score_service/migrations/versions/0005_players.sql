-- Results of players who were erased: out of `session_results`, hence out of every fold there is or will
-- be, yet still part of their sessions, under an id of its own for each that no player can have.
CREATE TABLE erased_results (
    game_id integer NOT NULL,
    period date NOT NULL,
    session_id uuid NOT NULL,
    anonymous_id text COLLATE "C" NOT NULL,
    score bigint NOT NULL,
    PRIMARY KEY (game_id, period, session_id, anonymous_id)
);

-- Erasures whose last traces (tombstones, versions in the index) are to go; the row goes with them.
CREATE TABLE erasures (
    erasure_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    game_id integer NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    rankings jsonb
);
COMMENT ON COLUMN erasures.rankings IS
    '[[leaderboard_id, generation, season, version], ...] of the tombstones, once these are deleted';

-- Takes a player out of everything that is not an entry. Owned by the migrator: the service that calls it
-- may neither change nor delete results, users and the audit otherwise. Returns the id that stands for the
-- player in the audit; null, with nothing done, when the game does not know the player.
CREATE FUNCTION erase_user(of_game integer, of_user text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
-- A look-up is one probe, whatever the planner believes of the tables' sizes.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
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
REVOKE ALL ON FUNCTION erase_user(integer, text) FROM PUBLIC;

-- Where players stood at the end of a day (UTC): a row for each whose entry changed since the snapshot before.
CREATE TABLE snapshots (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    day date NOT NULL,
    version_until bigint NOT NULL,
    total bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (leaderboard_id, generation, season, day)
);
COMMENT ON COLUMN snapshots.version_until IS 'later changes of entries have greater versions';

CREATE TABLE snapshot_ranks (
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    day date NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    rank bigint NOT NULL,
    score bigint NOT NULL,
    PRIMARY KEY (leaderboard_id, generation, season, day, user_id)
);

GRANT EXECUTE ON FUNCTION erase_user(integer, text) TO leaderboard_score;
GRANT SELECT, DELETE ON erased_results TO leaderboard_score;
GRANT SELECT, INSERT, UPDATE, DELETE ON erasures TO leaderboard_score;
GRANT SELECT, INSERT, DELETE ON snapshots, snapshot_ranks TO leaderboard_score;
GRANT SELECT ON SEQUENCE entry_version TO leaderboard_score;
GRANT SELECT ON snapshots, snapshot_ranks TO leaderboard_rank;
