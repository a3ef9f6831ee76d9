-- name: claim_outbox
-- Take batches that were committed a while ago and not applied; another replica skips them.
SELECT outbox_id, changes
  FROM outbox
 WHERE created_at < now() - $1::interval
 ORDER BY outbox_id
 LIMIT $2
   FOR UPDATE SKIP LOCKED;

-- name: drop_outbox
-- Forget batches that have been applied.
DELETE FROM outbox
 WHERE outbox_id IN (SELECT outbox_id FROM outbox WHERE outbox_id = ANY ($1::bigint[]) FOR UPDATE SKIP LOCKED);

-- name: outbox_backlog
-- How many batches wait, and the age of the oldest in seconds.
SELECT count(*) AS batches,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age
  FROM outbox;

-- name: make_periods
-- Make the history's partitions up to some months ahead; returns how many were made.
SELECT make_periods($1);

-- name: all_boards
-- Every leaderboard there is: what the outbox's names refer to.
SELECT * FROM leaderboards;
