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
-- The days (UTC, counted from 1970) on which sessions of a game were played.
SELECT DISTINCT floor(extract(epoch FROM played_at) / 86400)::bigint AS day
  FROM game_sessions
 WHERE game_id = $1
 ORDER BY day;

-- name: open_seasons_of_history
-- Give a new generation the rows of those seasons (their starts, in order, and ends) in which sessions
-- were recorded in time. What the generation before had sealed is kept on record.
INSERT INTO seasons (leaderboard_id, generation, season, ends_at, closes_at, previous_digests)
SELECT l.leaderboard_id, l.generation, used.season, used.ends_at, used.ends_at + $4::interval,
       coalesce(before.previous_digests, '[]')
       || CASE WHEN before.sealed_at IS NULL THEN '[]'
               ELSE jsonb_build_array(jsonb_build_object(
                        'digest', before.digest, 'total', before.total, 'sealed_at', before.sealed_at))
          END
  FROM leaderboards AS l
 CROSS JOIN LATERAL (
       SELECT DISTINCT ($2::bigint[])[at] AS season, to_timestamp(($3::bigint[])[at]) AS ends_at
         FROM (SELECT s.recorded_at, width_bucket(floor(extract(epoch FROM s.played_at))::bigint, $2::bigint[]) AS at
                 FROM game_sessions AS s
                WHERE s.game_id = l.game_id AND s.voided_at IS NULL
                  AND (l.modes IS NULL OR s.mode = ANY (l.modes))) AS placed
        WHERE recorded_at < to_timestamp(($3::bigint[])[at]) + $4::interval) AS used
  LEFT JOIN seasons AS before
    ON before.leaderboard_id = l.leaderboard_id AND before.generation = l.generation - 1
   AND before.season = used.season
 WHERE l.leaderboard_id = $1;

-- name: carry_seasons
-- A generation whose contributions are the same as the last one's has the same seasons, to be sealed anew.
INSERT INTO seasons (leaderboard_id, generation, season, ends_at, closes_at, previous_digests)
SELECT leaderboard_id, generation + 1, season, ends_at, closes_at,
       previous_digests
       || CASE WHEN sealed_at IS NULL THEN '[]'
               ELSE jsonb_build_array(jsonb_build_object('digest', digest, 'total', total, 'sealed_at', sealed_at))
          END
  FROM seasons
 WHERE leaderboard_id = $1 AND generation = $2;
