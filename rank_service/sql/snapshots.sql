-- name: ranks_of_user
-- Where a user stood at the end of the last days, oldest first: days without a change have no row.
SELECT s.day, r.rank, r.score, s.total
  FROM snapshots AS s
 CROSS JOIN LATERAL (
       SELECT rank, score
         FROM snapshot_ranks
        WHERE leaderboard_id = s.leaderboard_id AND generation = s.generation AND season = s.season
          AND day = s.day AND user_id = $4
       OFFSET 0) AS r
 WHERE s.leaderboard_id = $1 AND s.generation = $2 AND s.season = $3
   AND s.day >= (now() AT TIME ZONE 'UTC')::date - $5::int
 ORDER BY s.day;

-- name: ranks_on_day
-- Ranks of users in the snapshots of one day, in the order asked; says too whether there is a snapshot.
SELECT s.day IS NOT NULL AS taken, r.rank
  FROM unnest($2::int[], $3::int[], $4::bigint[], $5::text[])
       WITH ORDINALITY AS wanted (leaderboard_id, generation, season, user_id, at)
  LEFT JOIN LATERAL (
       SELECT day
         FROM snapshots
        WHERE leaderboard_id = wanted.leaderboard_id AND generation = wanted.generation
          AND season = wanted.season AND day = $1
       OFFSET 0) AS s ON true
  LEFT JOIN LATERAL (
       SELECT rank
         FROM snapshot_ranks
        WHERE leaderboard_id = wanted.leaderboard_id AND generation = wanted.generation
          AND season = wanted.season AND day = s.day AND user_id = wanted.user_id
       OFFSET 0) AS r ON true
 ORDER BY wanted.at;
