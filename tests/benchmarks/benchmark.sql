-- name: fold_board
-- The entries of a board without schedule or bans, where high wins, from the whole history.
INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, reached_at, session_id)
SELECT l.leaderboard_id, l.generation, 0, f.user_id, f.score, -f.score, f.reached_at, f.session_id
  FROM leaderboards AS l JOIN games AS g USING (game_id) CROSS JOIN LATERAL fold(l) AS f
 WHERE g.game = 'bench' AND l.leaderboard = %s;

-- name: make
-- The tables of the design that was replaced: a rank is kept with every player.
CREATE SCHEMA baseline;
CREATE TABLE baseline.board (only_row boolean PRIMARY KEY);
INSERT INTO baseline.board VALUES (true);
CREATE TABLE baseline.results (session_id uuid PRIMARY KEY, user_id text NOT NULL, score bigint NOT NULL);
CREATE TABLE baseline.players (user_id text COLLATE "C" NOT NULL, score bigint NOT NULL, rank integer NOT NULL);
INSERT INTO baseline.players
SELECT e.user_id, e.score, rank() OVER (ORDER BY e.score DESC)
  FROM entries AS e JOIN leaderboards AS l USING (leaderboard_id, generation)
 WHERE l.leaderboard = 'global' AND l.game_id = (SELECT game_id FROM games WHERE game = 'bench');
ALTER TABLE baseline.players ADD PRIMARY KEY (user_id);
CREATE INDEX ON baseline.players (score DESC, user_id);
ANALYZE baseline.players;

-- name: lock_board
-- One write at a time: two range shifts that overlap would deadlock, or count each other twice.
SELECT only_row FROM baseline.board FOR UPDATE;

-- name: lock_player
-- Hold a player's row.
SELECT score, rank FROM baseline.players WHERE user_id = $1 FOR UPDATE;

-- name: add_result
-- Append to the history.
INSERT INTO baseline.results VALUES ($1, $2, $3);

-- name: count_better
-- The rank of a score, the slow way.
SELECT count(*) + 1 FROM baseline.players WHERE score > $1;

-- name: shift
-- Everyone who was overtaken moves down by one.
UPDATE baseline.players SET rank = rank + 1 WHERE score >= $1 AND score < $2 AND user_id <> $3;

-- name: move
-- The player's new place.
UPDATE baseline.players SET score = $2, rank = $3 WHERE user_id = $1;

-- name: player
-- A player's score.
SELECT user_id, score FROM baseline.players WHERE user_id = $1;

-- name: top
-- The first ten.
SELECT rank, user_id, score FROM baseline.players ORDER BY score DESC, user_id LIMIT 10;

-- name: busy
-- Whether a client's statement runs, other than this one.
SELECT EXISTS (
       SELECT FROM pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid());

-- name: grow_users
-- The players of a game that grew: u0, u1, ...
INSERT INTO users (game_id, user_id) SELECT %(game)s, 'u' || n FROM generate_series(0, %(users)s - 1) AS n;

-- name: grow_sessions
-- Their sessions, ten players each, two a millisecond from a moment on, with ids of version 7.
INSERT INTO game_sessions (game_id, period, session_id, fingerprint, mode, played_at)
SELECT %(game)s, date_trunc('month', at AT TIME ZONE 'UTC')::date, id::uuid, '\x00'::bytea, 'one', at
  FROM (SELECT %(start)s::timestamptz + n / 2 * interval '1 ms' AS at,
               lpad(to_hex(floor(extract(epoch FROM %(start)s::timestamptz) * 1000)::bigint + n / 2), 12, '0')
               || '7' || lpad(to_hex(n %% 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0') AS id
          FROM generate_series(0, %(users)s / 10 - 1) AS n) AS made;

-- name: grow_results
-- One result for each of them.
INSERT INTO session_results (game_id, period, session_id, user_id, score, played_at)
SELECT s.game_id, s.period, s.session_id, 'u' || (s.n - 1) * 10 + k, floor(random() * 10000)::bigint, s.played_at
  FROM (SELECT *, row_number() OVER (ORDER BY session_id) AS n FROM game_sessions WHERE game_id = %(game)s) AS s
 CROSS JOIN generate_series(0, 9) AS k;

-- name: bytes_a_row
-- What a row of each large table takes with its indexes, partitions taken together.
SELECT name, round(sum(bytes) / sum(rows))
  FROM (SELECT coalesce(i.inhparent::regclass::text, c.relname) AS name,
               pg_total_relation_size(c.oid) AS bytes, c.reltuples AS rows
          FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.reltuples >= 1000) AS tables
 GROUP BY name
 ORDER BY name;
