-- name: seasons_to_verify
-- The seasons of a generation: those with a row, and those that entries name, found by one probe each.
WITH RECURSIVE used AS (
    (SELECT season FROM entries WHERE leaderboard_id = $1 AND generation = $2 ORDER BY season LIMIT 1)
    UNION ALL
    SELECT (SELECT e.season
              FROM entries AS e
             WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season > u.season
             ORDER BY e.season LIMIT 1)
      FROM used AS u
     WHERE u.season IS NOT NULL
)
SELECT season, s.sealed_at IS NOT NULL AS sealed, s.total, s.digest
  FROM (SELECT season FROM used WHERE season IS NOT NULL
         UNION
        SELECT season FROM seasons WHERE leaderboard_id = $1 AND generation = $2) AS named
  LEFT JOIN (SELECT * FROM seasons WHERE leaderboard_id = $1 AND generation = $2) AS s USING (season)
 ORDER BY season;

-- name: present_generation
-- The generation of a board as it is now, and how often its index was cut anew.
SELECT generation, index_layout FROM leaderboards WHERE leaderboard_id = $1;

-- name: take_long
-- Many users are folded by one statement, in memory where there is room; nothing here is written.
SELECT set_config('statement_timeout', '600000', true), set_config('work_mem', '64MB', true);

-- name: count_users
-- How many users a game has, for the progress shown.
SELECT count(*) FROM users WHERE game_id = $1;

-- name: next_users
-- Where the next chunk of a game's users ends, and how many it has. It only cuts the ids in ranges:
-- whoever is missing here is compared all the same.
SELECT max(user_id) AS until, count(*) AS users
  FROM (SELECT user_id FROM users WHERE game_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) AS chunk;

-- name: compare_entries
-- The entries of users in ($4, $5] in some seasons, beside the fold of their history: first a row that
-- counts, then those that differ, up to a number.
WITH banned AS MATERIALIZED (
    SELECT user_id FROM users
     WHERE game_id = $2 AND user_id > $4 AND user_id <= $5 AND banned_at IS NOT NULL
), expected AS MATERIALIZED (
    SELECT f.season, f.user_id, f.score,
           CASE WHEN l.sort_order = 'desc' THEN -f.score ELSE f.score END AS sort_key,
           CASE WHEN l.ties = 'first' THEN abs(f.reached_at) ELSE 0 END AS tiebreak,
           f.reached_at, f.session_id, f.user_id IN (SELECT user_id FROM banned) AS hidden
      FROM leaderboards AS l CROSS JOIN LATERAL fold_by_key(l, NULL, $7::bigint, $4, $5) AS f
     WHERE l.leaderboard_id = $1
), stored AS MATERIALIZED (
    SELECT e.season, e.user_id, e.score, e.sort_key, e.tiebreak, e.reached_at, e.session_id, e.hidden
      FROM unnest($6::bigint[]) AS asked (season)
     CROSS JOIN LATERAL (
           SELECT *
             FROM entries
            WHERE leaderboard_id = $1 AND generation = $3 AND season = asked.season
              AND user_id > $4 AND user_id <= $5
           OFFSET 0) AS e
     WHERE e.deleted_at IS NULL
), compared AS MATERIALIZED (
    SELECT season, user_id,
           CASE WHEN s.score IS NOT NULL THEN jsonb_build_object(
               'score', s.score, 'sort_key', s.sort_key, 'tiebreak', s.tiebreak, 'reached_at', s.reached_at,
               'session_id', s.session_id, 'hidden', s.hidden) END AS stored,
           CASE WHEN x.score IS NOT NULL THEN jsonb_build_object(
               'score', x.score, 'sort_key', x.sort_key, 'tiebreak', x.tiebreak, 'reached_at', x.reached_at,
               'session_id', x.session_id, 'hidden', x.hidden) END AS should
      FROM stored AS s FULL JOIN expected AS x USING (season, user_id)
     WHERE (s.score, s.sort_key, s.tiebreak, s.reached_at, s.session_id, s.hidden)
           IS DISTINCT FROM (x.score, x.sort_key, x.tiebreak, x.reached_at, x.session_id, x.hidden)
)
SELECT NULL::bigint AS season, NULL::text AS user_id, NULL::jsonb AS stored,
       jsonb_build_object(
           'entries', (SELECT count(*) FROM stored),
           'missing entry', count(*) FILTER (WHERE stored IS NULL),
           'surplus entry', count(*) FILTER (WHERE should IS NULL),
           'wrong entry', count(*) FILTER (WHERE stored IS NOT NULL AND should IS NOT NULL)) AS should
  FROM compared
UNION ALL
(SELECT season, user_id, stored, should FROM compared ORDER BY season, user_id LIMIT $8);

-- name: compare_standings
-- The sealed standings of a season beside what their scores give, and the entries they are of: first a row
-- that counts, then those that differ, up to a number; $4 is the tie policy, $5 -1 where high wins.
WITH ranked AS (
    SELECT f.user_id, f.place, f.rank, f.ties, f.better, f.score, e.score AS entry_score,
           row_number() OVER places AS due_place,
           CASE $4::text WHEN 'first' THEN row_number() OVER places
                         WHEN 'dense' THEN dense_rank() OVER scores ELSE rank() OVER scores END AS due_rank,
           count(*) OVER (PARTITION BY f.score) AS due_ties,
           rank() OVER scores - 1 AS due_better
      FROM final_standings AS f
      LEFT JOIN entries AS e
        ON e.leaderboard_id = f.leaderboard_id AND e.generation = f.generation AND e.season = f.season
       AND e.user_id = f.user_id AND e.deleted_at IS NULL
     WHERE f.leaderboard_id = $1 AND f.generation = $2 AND f.season = $3
    WINDOW scores AS (ORDER BY f.score * $5::bigint),
           places AS (ORDER BY f.score * $5::bigint, e.tiebreak, f.user_id)
), compared AS MATERIALIZED (
    SELECT user_id,
           jsonb_build_object('place', place, 'rank', rank, 'ties', ties, 'better', better, 'score', score) AS stored,
           jsonb_build_object('place', due_place, 'rank', due_rank, 'ties', due_ties, 'better', due_better,
                              'score', entry_score) AS should
      FROM ranked
     WHERE (place, rank, ties, better, score)
           IS DISTINCT FROM (due_place, due_rank, due_ties, due_better, entry_score)
)
SELECT NULL::text AS user_id, NULL::jsonb AS stored, jsonb_build_object('wrong sealed row', count(*)) AS should
  FROM compared
UNION ALL
(SELECT user_id, stored, should FROM compared ORDER BY user_id LIMIT $6);

-- name: settled_version
-- The greatest version given out, and the transactions that may still be using it or one before.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS version,
       pg_snapshot_xmax(pg_current_snapshot())::text AS until
  FROM entry_version;

-- name: are_through
-- Whether every transaction that had begun by a moment has ended.
SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8;

-- name: unapplied_entries
-- How many entries of a ranking may not have reached the index yet: named in the outbox.
SELECT coalesce(sum(jsonb_array_length(change -> 3)), 0)::bigint
  FROM outbox CROSS JOIN LATERAL jsonb_array_elements(changes) AS change
 WHERE jsonb_array_length(change) = 4
   AND (change ->> 0)::int = $1 AND (change ->> 1)::int = $2 AND (change ->> 2)::bigint = $3;

-- name: changed_entries
-- How many entries of a ranking have changed since a version was given out.
SELECT count(*) FROM entries WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND version > $4;

-- name: ranks
-- Where those of a ranking stand, best first; $4 is the tie policy, $5 some users (NULL: everyone).
SELECT user_id, version, rank, ties
  FROM (SELECT user_id, version, sort_key, tiebreak,
               CASE $4::text WHEN 'first' THEN row_number() OVER places
                             WHEN 'dense' THEN dense_rank() OVER scores ELSE rank() OVER scores END AS rank,
               count(*) OVER (PARTITION BY sort_key) AS ties
          FROM entries
         WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND NOT hidden AND deleted_at IS NULL
        WINDOW scores AS (ORDER BY sort_key),
               places AS (ORDER BY sort_key, tiebreak, user_id)) AS ranked
 WHERE $5::text[] IS NULL OR user_id = ANY ($5)
 ORDER BY sort_key, tiebreak, user_id;
