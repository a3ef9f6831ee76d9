-- name: preview
-- Who would stand where: a ranking as it is ($1 to $3; ties: $4), and what the history says by another definition ($5: a
-- row of leaderboards without schedule, as JSON) of the season $6, played from $7 until before $8. Changes nothing.
WITH before AS MATERIALIZED (
    SELECT user_id, score, count(*) OVER (PARTITION BY sort_key) AS ties, row_number() OVER places AS place,
           CASE $4::text WHEN 'first' THEN row_number() OVER places
                         WHEN 'dense' THEN dense_rank() OVER scores ELSE rank() OVER scores END AS rank
      FROM entries
     WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND NOT hidden AND deleted_at IS NULL
    WINDOW scores AS (ORDER BY sort_key), places AS (ORDER BY sort_key, tiebreak, user_id)
), folded AS MATERIALIZED (
    SELECT f.user_id, f.score,
           CASE WHEN l.sort_order = 'desc' THEN -f.score ELSE f.score END AS sort_key,
           CASE WHEN l.ties = 'first' THEN abs(f.reached_at) ELSE 0 END AS tiebreak, l.ties AS policy
      FROM jsonb_populate_record(NULL::leaderboards, $5::jsonb) AS l
     CROSS JOIN LATERAL fold(l, 'infinity', NULL, $6, NULL, NULL, $7, $8) AS f
      LEFT JOIN users AS u ON u.game_id = l.game_id AND u.user_id = f.user_id
     WHERE u.banned_at IS NULL
), after AS MATERIALIZED (
    SELECT user_id, score, count(*) OVER (PARTITION BY sort_key) AS ties, row_number() OVER places AS place,
           CASE policy WHEN 'first' THEN row_number() OVER places
                       WHEN 'dense' THEN dense_rank() OVER scores ELSE rank() OVER scores END AS rank
      FROM folded
    WINDOW scores AS (ORDER BY sort_key), places AS (ORDER BY sort_key, tiebreak, user_id)
), moved AS MATERIALIZED (
    SELECT user_id, b.rank AS origin, a.rank AS target
      FROM before AS b FULL JOIN after AS a USING (user_id)
     WHERE b.rank IS DISTINCT FROM a.rank
), furthest AS (
   (SELECT user_id FROM moved WHERE target < origin ORDER BY target - origin, user_id LIMIT 1)
    UNION ALL
   (SELECT user_id FROM moved WHERE target > origin ORDER BY origin - target, user_id LIMIT 1)
), known AS MATERIALIZED (
    SELECT user_id, display_name
      FROM users
     WHERE game_id = ($5::jsonb ->> 'game_id')::int
       AND user_id IN (SELECT user_id FROM before WHERE place <= $9 UNION SELECT user_id FROM after WHERE place <= $9
                       UNION SELECT user_id FROM furthest)
)
SELECT (SELECT count(*) FROM before) AS total_before,
       (SELECT count(*) FROM after) AS total_after,
       (SELECT jsonb_agg(jsonb_build_object('rank', rank, 'user_id', user_id, 'display_name', display_name, 'score', score,
                                             'ties', ties) ORDER BY place)
          FROM before LEFT JOIN known USING (user_id) WHERE place <= $9) AS top_before,
       (SELECT jsonb_agg(jsonb_build_object('rank', rank, 'user_id', user_id, 'display_name', display_name, 'score', score,
                                             'ties', ties) ORDER BY place)
          FROM after LEFT JOIN known USING (user_id) WHERE place <= $9) AS top_after,
       (SELECT count(*) FROM moved) AS changed,
       (SELECT jsonb_build_object('user_id', user_id, 'display_name', display_name, 'from', origin, 'to', target)
          FROM moved LEFT JOIN known USING (user_id) WHERE target < origin ORDER BY target - origin, user_id LIMIT 1) AS rise,
       (SELECT jsonb_build_object('user_id', user_id, 'display_name', display_name, 'from', origin, 'to', target)
          FROM moved LEFT JOIN known USING (user_id) WHERE target > origin ORDER BY origin - target, user_id LIMIT 1) AS fall,
       (SELECT coalesce(max(abs(score)), 0) FROM folded) AS greatest;

-- name: no_longer_than
-- Have the statements of this transaction end after so many milliseconds, and sort in memory.
SELECT set_config('statement_timeout', $1, true), set_config('work_mem', '64MB', true);
