-- Keep profiles read from Postgres, unless any changed since the reader saw `version`.
-- KEYS: the game's profile version, then a key per user. ARGV: version seen, or '' and a version to
-- start with when there was none; ttl_ms, then a value per user. Returns how many were kept.
local version = redis.call('GET', KEYS[1])
if not version and ARGV[2] ~= '' then
  -- Nothing is kept this time: a change may have come before there was a version to void.
  redis.call('SET', KEYS[1], ARGV[2])
  return 0
end
if version ~= ARGV[1] then return 0 end
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 2], 'PX', ARGV[3]) end
return #KEYS - 1
