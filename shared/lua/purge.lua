-- Forget users whose tombstones were deleted in Postgres: their versions are not needed any more.
-- ARGV: origin, then user_id, version per user. A newer version is someone who came back: it stays.
-- A copy that cannot be used goes as a whole. Returns how many were forgotten.
local s = open(ARGV[1])
if not s then
  redis.call('UNLINK', STATE, RANKING, VERSIONS, DISTINCT)
  return 0
end
local forgotten = 0
for i = 2, #ARGV, 2 do
  local stored = redis.call('HGET', VERSIONS, ARGV[i])
  if stored then
    local version, prefix = split(stored)
    local is_ranked = redis.call('ZSCORE', RANKING, prefix .. ARGV[i])
    if not is_ranked and tonumber(version) <= tonumber(ARGV[i + 1]) then
      forgotten = forgotten + redis.call('HDEL', VERSIONS, ARGV[i])
    end
  end
end
if forgotten > 0 then redis.call('HINCRBY', STATE, 'known', -forgotten) end
return forgotten
