-- name: entries_of_ranking
-- Every entry of one ranking as the index keeps it, tombstones and hidden ones too (without a sort key).
SELECT user_id,
       version,
       CASE WHEN NOT hidden AND deleted_at IS NULL THEN sort_key END,
       tiebreak
  FROM entries
 WHERE leaderboard_id = $1 AND generation = $2 AND season = $3;

-- name: entries_of_users
-- The same for some users of some rankings: what an outbox row names, as it stands now.
SELECT e.leaderboard_id,
       e.generation,
       e.season,
       e.user_id,
       e.version,
       CASE WHEN NOT e.hidden AND e.deleted_at IS NULL THEN e.sort_key END,
       e.tiebreak
  FROM unnest($1::int[], $2::int[], $3::bigint[], $4::text[]) AS wanted (leaderboard_id, generation, season, user_id)
  JOIN entries AS e USING (leaderboard_id, generation, season, user_id);
