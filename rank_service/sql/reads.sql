-- name: page_of_ranking
-- Consecutive places of a ranking by offset, and what `places` needs to reckon their ranks.
WITH ranked AS NOT MATERIALIZED (
    SELECT user_id, sort_key, tiebreak
      FROM entries
     WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
       AND NOT hidden AND deleted_at IS NULL
), page AS MATERIALIZED (
    SELECT user_id, sort_key, tiebreak
      FROM ranked
     ORDER BY sort_key, tiebreak, user_id
    OFFSET $5 LIMIT $6
), edge AS (
    SELECT min(sort_key) AS first_key, max(sort_key) AS last_key FROM page
)
SELECT (SELECT count(*) FROM ranked) AS total,
       $5::bigint AS start,
       (SELECT count(*) FROM ranked WHERE sort_key < first_key) AS better,
       CASE WHEN $4 THEN (SELECT count(DISTINCT sort_key) FROM ranked WHERE sort_key < first_key) END AS scores,
       (SELECT count(*) FROM ranked WHERE sort_key = first_key) AS first_ties,
       (SELECT count(*) FROM ranked WHERE sort_key = last_key) AS last_ties,
       ARRAY(SELECT user_id FROM page ORDER BY sort_key, tiebreak, user_id) AS user_ids,
       ARRAY(SELECT sort_key FROM page ORDER BY sort_key, tiebreak, user_id) AS sort_keys
  FROM edge;

-- name: neighbourhood_of_user
-- The same for the places around one user: up to $6 before, the user, up to $6 after.
WITH ranked AS NOT MATERIALIZED (
    SELECT user_id, sort_key, tiebreak
      FROM entries
     WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
       AND NOT hidden AND deleted_at IS NULL
), mine AS MATERIALIZED (
    SELECT user_id, sort_key, tiebreak FROM ranked WHERE user_id = $5
), page AS MATERIALIZED (
    SELECT ahead.*
      FROM mine AS m
     CROSS JOIN LATERAL (
         SELECT user_id, sort_key, tiebreak
           FROM ranked AS r
          WHERE (r.sort_key, r.tiebreak, r.user_id) < (m.sort_key, m.tiebreak, m.user_id)
          ORDER BY sort_key DESC, tiebreak DESC, user_id DESC
          LIMIT $6) AS ahead
    UNION ALL
    SELECT behind.*
      FROM mine AS m
     CROSS JOIN LATERAL (
         SELECT user_id, sort_key, tiebreak
           FROM ranked AS r
          WHERE (r.sort_key, r.tiebreak, r.user_id) >= (m.sort_key, m.tiebreak, m.user_id)
          ORDER BY sort_key, tiebreak, user_id
          LIMIT $6 + 1) AS behind
), first AS (
    SELECT user_id, sort_key, tiebreak FROM page ORDER BY sort_key, tiebreak, user_id LIMIT 1
), edge AS (
    SELECT min(sort_key) AS first_key, max(sort_key) AS last_key FROM page
)
SELECT (SELECT count(*) FROM ranked) AS total,
       (SELECT count(*)
          FROM ranked AS r, first AS f
         WHERE (r.sort_key, r.tiebreak, r.user_id) < (f.sort_key, f.tiebreak, f.user_id)) AS start,
       (SELECT count(*) FROM ranked WHERE sort_key < first_key) AS better,
       CASE WHEN $4 THEN (SELECT count(DISTINCT sort_key) FROM ranked WHERE sort_key < first_key) END AS scores,
       (SELECT count(*) FROM ranked WHERE sort_key = first_key) AS first_ties,
       (SELECT count(*) FROM ranked WHERE sort_key = last_key) AS last_ties,
       ARRAY(SELECT user_id FROM page ORDER BY sort_key, tiebreak, user_id) AS user_ids,
       ARRAY(SELECT sort_key FROM page ORDER BY sort_key, tiebreak, user_id) AS sort_keys
  FROM edge;

-- name: places_of_users
-- The places of any number of users in one pass: who is better is counted once, between their scores.
-- A row for each user found, and always one without a user, for the total.
WITH ranked AS NOT MATERIALIZED (
    SELECT user_id, sort_key, tiebreak
      FROM entries
     WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
       AND NOT hidden AND deleted_at IS NULL
), wanted AS MATERIALIZED (
    SELECT r.user_id, r.sort_key, r.tiebreak
      FROM unnest($5::text[]) AS asked (user_id)
      JOIN ranked AS r USING (user_id)
), marks AS MATERIALIZED (
    SELECT coalesce(array_agg(DISTINCT sort_key ORDER BY sort_key), '{}') AS keys FROM wanted
), steps AS (
    SELECT width_bucket(sort_key, keys) AS step, sum(players) AS players, count(*) AS scores
      FROM (SELECT sort_key, count(*) AS players FROM ranked GROUP BY sort_key) AS groups
     CROSS JOIN marks
     GROUP BY step
), sums AS MATERIALIZED (
    SELECT step, sum(players) OVER ahead AS players, sum(scores) OVER ahead AS scores
      FROM steps
    WINDOW ahead AS (ORDER BY step)
)
SELECT NULL AS user_id, NULL::bigint AS sort_key,
       (SELECT coalesce(max(players), 0) FROM sums)::bigint AS better, 0::bigint AS scores,
       0::bigint AS ties, 0::bigint AS ahead
UNION ALL
SELECT w.user_id,
       w.sort_key,
       (SELECT coalesce(max(players), 0) FROM sums WHERE step < width_bucket(w.sort_key, keys))::bigint,
       (SELECT coalesce(max(scores), 0) FROM sums WHERE step < width_bucket(w.sort_key, keys))::bigint,
       (SELECT count(*) FROM ranked AS r WHERE r.sort_key = w.sort_key),
       CASE WHEN $4
            THEN (SELECT count(*) FROM ranked AS r
                   WHERE r.sort_key = w.sort_key AND (r.tiebreak, r.user_id) < (w.tiebreak, w.user_id))
            ELSE 0
       END
  FROM wanted AS w
 CROSS JOIN marks;

-- name: rank_of_score
-- The rank a score would have, and how many are on it.
WITH ranked AS NOT MATERIALIZED (
    SELECT sort_key
      FROM entries
     WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
       AND NOT hidden AND deleted_at IS NULL
)
SELECT count(*) AS total,
       count(*) FILTER (WHERE sort_key < $5) AS better,
       CASE WHEN $4 THEN (SELECT count(DISTINCT sort_key) FROM ranked WHERE sort_key < $5) END AS scores,
       count(*) FILTER (WHERE sort_key = $5) AS ties
  FROM ranked;

-- name: distribution_of_scores
-- Players in equal ranges of sort keys (both ends in them), as histogram.lua cuts them.
WITH ranked AS NOT MATERIALIZED (
    SELECT sort_key
      FROM entries
     WHERE leaderboard_id = $1 AND generation = $2 AND season = $3
       AND NOT hidden AND deleted_at IS NULL
), ends AS MATERIALIZED (
    SELECT min(sort_key) AS least, max(sort_key) AS greatest, max(sort_key) - min(sort_key) + 1 AS span
      FROM ranked
), cut AS (
    SELECT least, greatest, least(span, $4::bigint) AS buckets, span / least(span, $4::bigint) AS width,
           span % least(span, $4::bigint) AS wider
      FROM ends
     WHERE span IS NOT NULL
), ranges AS (
    SELECT i,
           least + i * width + i * wider / buckets AS from_key,
           least + (i + 1) * width + (i + 1) * wider / buckets - 1 AS to_key
      FROM cut, generate_series(0, buckets - 1) AS i
), counts AS (
    SELECT width_bucket(sort_key, (SELECT array_agg(from_key ORDER BY i) FROM ranges)) AS bucket,
           count(*) AS players
      FROM ranked
     WHERE EXISTS (SELECT FROM ranges)
     GROUP BY bucket
)
SELECT r.from_key, r.to_key, coalesce(c.players, 0) AS players
  FROM ranges AS r
  LEFT JOIN counts AS c ON c.bucket = r.i + 1
 ORDER BY r.i;
