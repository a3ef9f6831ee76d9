-- Apply changed entries, fenced by version: what is not newer than the stored version is refused, so
-- applies may come late, twice or out of order, while a load runs, and the copy still converges.
-- ARGV: origin, idle_ms, ties, page_size,
--   then per user: user_id, version, sort_key ('' when hidden or deleted), prefix ('' unless ties = first).
-- Returns {status}, status miss | loading, or for a ready index
--   {'ready', token, page, count, previous_rank, rank, ties, sort_key, previous sort_key, ...}, five
--   values a user.
local origin, idle_ms, ties, page_size = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local s = open(origin)
if not s then
  -- A copy that someone loads or reads under another name of this server would lack these entries.
  redis.call('DEL', STATE)
  return {'miss'}
end
local status = s[1]
if status == 'ready' then keep(idle_ms) end

-- The score of the last place on the hot page: a change at or above it changes the page.
local function edge()
  local last = redis.call('ZRANGE', RANKING, page_size - 1, page_size - 1, 'WITHSCORES')[2]
  return last and tonumber(last) or math.huge
end

local ready = status == 'ready'
local edge_before = ready and edge() or 0
local users = {}
local places = {}

-- 1. What is there now: all previous ranks are from before any write of this call.
for i = 5, #ARGV, 4 do
  local user = {id = ARGV[i], version = ARGV[i + 1], sort_key = ARGV[i + 2], prefix = ARGV[i + 3]}
  local stored = redis.call('HGET', VERSIONS, user.id)
  if stored then
    local version, prefix = split(stored)
    user.known = true
    user.stale = tonumber(version) >= tonumber(user.version)
    user.old_member = prefix .. user.id
    user.old_key = redis.call('ZSCORE', RANKING, user.old_member)
  end
  if ready and user.old_key then
    user.previous = rank_of(ties, user.old_member, user.old_key)
  end
  users[#users + 1] = user
end

-- 2. Write.
local count, known = 0, 0
for _, user in ipairs(users) do
  if not user.stale then
    local member = user.prefix .. user.id
    local visible = user.sort_key ~= ''
    if user.old_key and (not visible or member ~= user.old_member) then
      redis.call('ZREM', RANKING, user.old_member)
    end
    if visible then redis.call('ZADD', RANKING, user.sort_key, member) end
    count = count + (visible and 1 or 0) - (user.old_key and 1 or 0)
    known = known + (user.known and 0 or 1)
    redis.call('HSET', VERSIONS, user.id,
               user.prefix == '' and user.version or user.version .. ':' .. user.prefix)
    if ties == 'dense' then
      if visible then redis.call('ZADD', DISTINCT, user.sort_key, user.sort_key) end
      if user.old_key and ties_at(user.old_key) == 0 then redis.call('ZREM', DISTINCT, user.old_key) end
    end
    user.member, user.key = member, visible and user.sort_key or false
  else
    user.member, user.key = user.old_member, user.old_key
  end
end
note_distinct(ties)
if count ~= 0 then redis.call('HINCRBY', STATE, 'count', count) end
if known ~= 0 then redis.call('HINCRBY', STATE, 'known', known) end
-- A key that was empty a moment ago was just made, without a time to live.
if ready and s[4] == '0' then expire(idle_ms) end
if not ready and s[5] == '0' then
  -- Should the load die, these go all the same. The lock is the loader's to prolong.
  for _, key in ipairs({RANKING, VERSIONS, DISTINCT}) do redis.call('PEXPIRE', key, idle_ms) end
end
if not ready then
  -- Answers kept from Postgres while this copy loads (see `miss`) end with any apply.
  redis.call('HINCRBY', STATE, 'page', 1)
  return {status}
end

-- 3. Ranks after all writes, and the page counter.
local edge_after = edge()
local changed = false
for _, user in ipairs(users) do
  if not user.stale then
    changed = changed or (user.old_key and tonumber(user.old_key) <= edge_before)
      or (user.key and tonumber(user.key) <= edge_after)
  end
  local rank = user.key and rank_of(ties, user.member, user.key)
  places[#places + 1] = user.previous or false
  places[#places + 1] = rank
  places[#places + 1] = user.key and ties_with(ties, rank, user.key)
  places[#places + 1] = user.key or false
  places[#places + 1] = user.old_key or false
end
local page = changed and redis.call('HINCRBY', STATE, 'page', 1) or tonumber(s[3])
local answer = {'ready', s[2], page, tonumber(s[4]) + count}
for i = 1, #places do answer[4 + i] = places[i] or false end
return answer
