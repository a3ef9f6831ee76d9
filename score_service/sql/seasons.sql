-- name: open_seasons
-- Give seasons that still take results their rows, in the order given.
INSERT INTO seasons (leaderboard_id, generation, season, ends_at, closes_at)
SELECT leaderboard_id, generation, season, ends_at, ends_at + $5::interval
  FROM unnest($1::int[], $2::int[], $3::bigint[], $4::timestamptz[])
       AS wanted (leaderboard_id, generation, season, ends_at)
 WHERE ends_at + $5::interval > $6::timestamptz
ON CONFLICT DO NOTHING;

-- name: closings_of_seasons
-- When some seasons close. A statement of its own: that of the insert does not see rows it waited for.
SELECT leaderboard_id, generation, season, closes_at
  FROM seasons
  JOIN unnest($1::int[], $2::int[], $3::bigint[]) AS wanted (leaderboard_id, generation, season)
       USING (leaderboard_id, generation, season);

-- name: days_of_history
-- The days (UTC, counted from 1970) on which sessions of a game were played: one probe of the index for each.
WITH RECURSIVE played AS (
    SELECT (SELECT min(played_at) FROM game_sessions WHERE game_id = $1) AS first
     UNION ALL
    SELECT (SELECT min(s.played_at)
              FROM game_sessions AS s
             WHERE s.game_id = $1
               AND s.played_at >= to_timestamp((floor(extract(epoch FROM p.first) / 86400) + 1)::float8 * 86400))
      FROM played AS p
     WHERE p.first IS NOT NULL
)
SELECT floor(extract(epoch FROM first) / 86400)::bigint AS day FROM played WHERE first IS NOT NULL ORDER BY day;

-- name: open_seasons_of_history
-- Give a generation being built the rows of those seasons (their starts, in order, and ends) in which
-- sessions were recorded in time. Batches open those that still take results, with us.
INSERT INTO seasons (leaderboard_id, generation, season, ends_at, closes_at)
SELECT $1, $2, used.season, used.ends_at, used.ends_at + $5::interval
  FROM (SELECT DISTINCT ($3::bigint[])[at] AS season, to_timestamp(($4::bigint[])[at]) AS ends_at
          FROM (SELECT s.recorded_at, width_bucket(floor(extract(epoch FROM s.played_at))::bigint, $3::bigint[]) AS at
                  FROM definition($1, $2) AS l JOIN game_sessions AS s USING (game_id)
                 WHERE s.voided_at IS NULL AND (l.modes IS NULL OR s.mode = ANY (l.modes))) AS placed
         WHERE recorded_at < to_timestamp(($4::bigint[])[at]) + $5::interval) AS used
 ORDER BY used.season
ON CONFLICT DO NOTHING;

-- name: carry_seasons
-- A generation to which results add the same as to the present one has the same seasons, to be sealed anew.
INSERT INTO seasons (leaderboard_id, generation, season, ends_at, closes_at)
SELECT s.leaderboard_id, $2, s.season, s.ends_at, s.closes_at
  FROM leaderboards AS l JOIN seasons AS s USING (leaderboard_id, generation)
 WHERE l.leaderboard_id = $1
 ORDER BY s.season
ON CONFLICT DO NOTHING;
