-- name: season
-- How one season stands.
SELECT season, ends_at, sealed_at IS NOT NULL AS sealed
  FROM seasons
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3;

-- name: seasons
-- The seasons that began before a moment, newest first, each with how many are shown in it.
SELECT s.season, s.ends_at, s.sealed_at IS NOT NULL AS sealed, s.digest, s.previous_digests,
       CASE WHEN s.sealed_at IS NOT NULL
            THEN s.total - (SELECT count(*)
                              FROM entries AS e
                              JOIN final_standings AS f USING (leaderboard_id, generation, season, user_id)
                             WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = s.season AND e.hidden)
            ELSE (SELECT count(*)
                    FROM entries AS e
                   WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = s.season
                     AND NOT e.hidden AND e.deleted_at IS NULL)
       END AS total
  FROM seasons AS s
 WHERE s.leaderboard_id = $1 AND s.generation = $2 AND s.season < $3
 ORDER BY s.season DESC
 LIMIT $4;

-- name: sealed_page
-- Consecutive places of sealed standings by offset: as many rows behind it as are hidden before it are
-- passed over. First a row with the total alone; no row at all when the season is not sealed.
WITH sealed AS MATERIALIZED (
    SELECT total FROM seasons WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND sealed_at IS NOT NULL
), hidden AS MATERIALIZED (
    SELECT f.place
      FROM entries AS e JOIN final_standings AS f USING (leaderboard_id, generation, season, user_id)
     WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = $3 AND e.hidden
), page AS (
    SELECT f.*
      FROM final_standings AS f
     WHERE f.leaderboard_id = $1 AND f.generation = $2 AND f.season = $3 AND f.place > $4
       AND f.place NOT IN (SELECT place FROM hidden)
     ORDER BY f.place
    OFFSET (SELECT count(*) FROM hidden WHERE place <= $4)
     LIMIT $5
)
SELECT total - (SELECT count(*) FROM hidden) AS total, NULL AS user_id, NULL::bigint AS rank, NULL::bigint AS ties,
       NULL::bigint AS score, NULL::bigint AS better, 0::bigint AS place
  FROM sealed
UNION ALL
SELECT total, user_id, rank, ties, score, better - (SELECT count(*) FROM hidden AS h WHERE h.place <= better), place
  FROM sealed CROSS JOIN page
 ORDER BY place;

-- name: sealed_neighbourhood
-- The same for the places around one user: up to $5 before, the user, up to $5 after.
WITH sealed AS MATERIALIZED (
    SELECT total FROM seasons WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND sealed_at IS NOT NULL
), hidden AS MATERIALIZED (
    SELECT f.place
      FROM entries AS e JOIN final_standings AS f USING (leaderboard_id, generation, season, user_id)
     WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = $3 AND e.hidden
), mine AS MATERIALIZED (
    SELECT f.place
      FROM final_standings AS f
     WHERE f.leaderboard_id = $1 AND f.generation = $2 AND f.season = $3 AND f.user_id = $4
       AND f.place NOT IN (SELECT place FROM hidden)
), page AS (
    (SELECT f.*
       FROM final_standings AS f
      WHERE f.leaderboard_id = $1 AND f.generation = $2 AND f.season = $3
        AND f.place < (SELECT place FROM mine) AND f.place NOT IN (SELECT place FROM hidden)
      ORDER BY f.place DESC
      LIMIT $5)
    UNION ALL
    (SELECT f.*
       FROM final_standings AS f
      WHERE f.leaderboard_id = $1 AND f.generation = $2 AND f.season = $3
        AND f.place >= (SELECT place FROM mine) AND f.place NOT IN (SELECT place FROM hidden)
      ORDER BY f.place
      LIMIT $5 + 1)
)
SELECT total - (SELECT count(*) FROM hidden) AS total, NULL AS user_id, NULL::bigint AS rank, NULL::bigint AS ties,
       NULL::bigint AS score, NULL::bigint AS better, 0::bigint AS place
  FROM sealed
UNION ALL
SELECT total, user_id, rank, ties, score, better - (SELECT count(*) FROM hidden AS h WHERE h.place <= better), place
  FROM sealed CROSS JOIN page
 ORDER BY place;

-- name: sealed_places
-- The same for any number of users: one index probe for each, whatever the planner believes (OFFSET 0).
WITH sealed AS MATERIALIZED (
    SELECT total FROM seasons WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND sealed_at IS NOT NULL
), hidden AS MATERIALIZED (
    SELECT f.place
      FROM entries AS e JOIN final_standings AS f USING (leaderboard_id, generation, season, user_id)
     WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = $3 AND e.hidden
)
SELECT total - (SELECT count(*) FROM hidden) AS total, NULL AS user_id, NULL::bigint AS rank, NULL::bigint AS ties,
       NULL::bigint AS score, NULL::bigint AS better, 0::bigint AS place
  FROM sealed
UNION ALL
SELECT total, f.user_id, f.rank, f.ties, f.score,
       f.better - (SELECT count(*) FROM hidden AS h WHERE h.place <= f.better), f.place
  FROM sealed
 CROSS JOIN unnest($4::text[]) AS asked (user_id)
 CROSS JOIN LATERAL (
       SELECT *
         FROM final_standings
        WHERE leaderboard_id = $1 AND generation = $2 AND season = $3 AND user_id = asked.user_id
       OFFSET 0) AS f
 WHERE f.place NOT IN (SELECT place FROM hidden)
 ORDER BY place;

-- name: sealed_rank_of_score
-- The rank a score would have had, among all who were sealed; $5 is -1 where high wins. The last of those
-- who are better tells how many they are by its place, and under dense how many scores by its rank.
SELECT s.total - (SELECT count(*)
                    FROM entries AS e JOIN final_standings AS f USING (leaderboard_id, generation, season, user_id)
                   WHERE e.leaderboard_id = $1 AND e.generation = $2 AND e.season = $3 AND e.hidden) AS total,
       f.better, f.scores, f.ties
  FROM seasons AS s
 CROSS JOIN LATERAL (
       SELECT coalesce(max(place) FILTER (WHERE score * $5::bigint < $4::bigint * $5::bigint), 0) AS better,
              coalesce(max(rank) FILTER (WHERE score * $5::bigint < $4::bigint * $5::bigint), 0) AS scores,
              count(*) FILTER (WHERE score = $4::bigint) AS ties
         FROM final_standings
        WHERE leaderboard_id = s.leaderboard_id AND generation = s.generation AND season = s.season) AS f
 WHERE s.leaderboard_id = $1 AND s.generation = $2 AND s.season = $3 AND s.sealed_at IS NOT NULL;

-- name: sealed_standings
-- Sealed standings in their order, with names: read through a cursor, in the shape of `standings`, and fenced as these.
SELECT f.user_id, f.score, u.display_name, u.country,
       f.rank AS rank_with_gaps, f.rank AS dense_rank, f.rank AS place, f.ties
  FROM final_standings AS f
  JOIN LATERAL (
       SELECT hidden
         FROM entries
        WHERE leaderboard_id = f.leaderboard_id AND generation = f.generation AND season = f.season
          AND user_id = f.user_id
       OFFSET 0) AS e ON NOT e.hidden
  LEFT JOIN LATERAL (
       SELECT display_name, country FROM users WHERE game_id = $4 AND user_id = f.user_id OFFSET 0) AS u ON true
 WHERE f.leaderboard_id = $1 AND f.generation = $2 AND f.season = $3
 ORDER BY f.place;
