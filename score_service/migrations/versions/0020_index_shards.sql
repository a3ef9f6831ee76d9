-- The index of a board too big for one node of a Redis Cluster is cut into shards, by user.
ALTER TABLE leaderboards
    ADD COLUMN index_shards integer NOT NULL DEFAULT 1 CHECK (index_shards BETWEEN 1 AND 64),
    ADD COLUMN index_layout integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT leaderboards_index_shards_ties CHECK (index_shards = 1 OR ties = 'competition');
COMMENT ON COLUMN leaderboards.index_shards IS 'users hash to shards, each an index of its own';
COMMENT ON COLUMN leaderboards.index_layout IS
    'how often index_shards was changed: part of the index''s keys, so that no copy from before is found again';
