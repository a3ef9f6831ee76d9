-- Write one chunk of a load, fenced by version like `write`; entries nobody knew go in together.
-- ARGV: origin, token, ttl_ms, ties, then per user: user_id, version, sort_key ('' when hidden or
--   deleted) and, where ties = first, prefix. A user is named once.
-- Returns {'loading'}, or {'lost'} when the lock is not the token's any more.
local origin, token, ttl_ms, ties = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local s = open(origin)
if not s or s[1] ~= 'loading' or s[2] ~= token then return {'lost'} end
local GROUP = 1000 -- users of one command: unpack() has room for some 8000 values
local STRIDE = ties == 'first' and 4 or 3
local count, known = 0, 0

-- Takes an older copy of a user out; returns false when the copy is not older.
local function outdated(id, stored, version)
  local held, prefix = split(stored)
  if tonumber(held) >= tonumber(version) then return false end
  local member = prefix .. id
  local sort_key = redis.call('ZSCORE', RANKING, member)
  if sort_key then
    redis.call('ZREM', RANKING, member)
    count = count - 1
    if ties == 'dense' and ties_at(sort_key) == 0 then redis.call('ZREM', DISTINCT, sort_key) end
  end
  return true
end

for from = 5, #ARGV, STRIDE * GROUP do
  local ids = {}
  for i = from, math.min(from + STRIDE * GROUP, #ARGV + 1) - 1, STRIDE do ids[#ids + 1] = ARGV[i] end
  local stored = redis.call('HMGET', VERSIONS, unpack(ids))
  local ranked, versions, distinct = {}, {}, {}
  for n = 1, #ids do
    local i = from + STRIDE * (n - 1)
    local id, version, sort_key = ids[n], ARGV[i + 1], ARGV[i + 2]
    local prefix = STRIDE == 4 and ARGV[i + 3] or ''
    if not stored[n] then known = known + 1 end
    if not stored[n] or outdated(id, stored[n], version) then
      versions[#versions + 1] = id
      versions[#versions + 1] = prefix == '' and version or version .. ':' .. prefix
      if sort_key ~= '' then
        count = count + 1
        ranked[#ranked + 1] = sort_key
        ranked[#ranked + 1] = prefix .. id
        if ties == 'dense' then
          distinct[#distinct + 1] = sort_key
          distinct[#distinct + 1] = sort_key
        end
      end
    end
  end
  if #versions > 0 then redis.call('HSET', VERSIONS, unpack(versions)) end
  if #ranked > 0 then redis.call('ZADD', RANKING, unpack(ranked)) end
  if #distinct > 0 then redis.call('ZADD', DISTINCT, unpack(distinct)) end
end
note_distinct(ties)
if count ~= 0 then redis.call('HINCRBY', STATE, 'count', count) end
if known ~= 0 then redis.call('HINCRBY', STATE, 'known', known) end
expire(ttl_ms)
return {'loading'}
