-- Apply changed entries, fenced by version: what is not newer than the stored version is refused, so
-- applies may come late, twice or out of order, while a load runs, and the copy still converges.
-- ARGV: origin, idle_ms, ties, page_size,
--   then per user, each user once: user_id, version, sort_key ('' when hidden or deleted),
--   prefix ('' unless ties = first).
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
local ready = status == 'ready'
if ready then keep(idle_ms) end

-- The score of the last place on the hot page: a change at or above it changes the page.
local function edge()
  local last = redis.call('ZRANGE', RANKING, page_size - 1, page_size - 1, 'WITHSCORES')[2]
  return last and tonumber(last) or math.huge
end

-- One command for many users, a bounded number of arguments at a time (Lua's stack holds 8000 values).
local function each_part(command, key, values, take)
  for from = 1, #values, 4000 do
    local to = math.min(from + 3999, #values)
    take(from - 1, redis.call(command, key, unpack(values, from, to)))
  end
end

local function send(command, key, values)
  each_part(command, key, values, function() end)
end

local function ask(command, key, values)
  local found = {}
  each_part(command, key, values, function(before, part)
    for i = 1, #part do found[before + i] = part[i] end
  end)
  return found
end

-- 1. What is there now: all previous ranks are from before any write of this call.
local edge_before = ready and edge() or 0
local n = (#ARGV - 4) / 4
local ids = {}
for i = 1, n do ids[i] = ARGV[1 + 4 * i] end
local stored = ask('HMGET', VERSIONS, ids)
local old_members = ids
if ties == 'first' then
  old_members = {}
  for i = 1, n do
    local prefix = ''
    if stored[i] then stored[i], prefix = split(stored[i]) end
    old_members[i] = prefix .. ids[i]
  end
end
local old_keys = ask('ZMSCORE', RANKING, old_members)
local better, on = {}, {} -- ranks and ties by sort_key: many share a score
local function rank_at(member, sort_key)
  if ties == 'first' then return rank_of(ties, member, sort_key) end
  local rank = better[sort_key]
  if not rank then
    rank = rank_of(ties, member, sort_key)
    better[sort_key] = rank
  end
  return rank
end
local previous = {}
if ready then
  for i = 1, n do previous[i] = old_keys[i] and rank_at(old_members[i], old_keys[i]) end
end

-- 2. Write.
local count, known = 0, 0
local members, keys, fresh = {}, {}, {}
local removed, added, versions = {}, {}, {}
for i = 1, n do
  local at = 1 + 4 * i
  local version, sort_key, prefix = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local old_key = old_keys[i]
  if stored[i] and tonumber(stored[i]) >= tonumber(version) then
    members[i], keys[i] = old_members[i], old_key
  else
    fresh[#fresh + 1] = i
    local member = ids[i]
    if prefix ~= '' then
      member = prefix .. member
      version = version .. ':' .. prefix
    end
    local visible = sort_key ~= ''
    if old_key and (not visible or member ~= old_members[i]) then removed[#removed + 1] = old_members[i] end
    if visible then
      added[#added + 1] = sort_key
      added[#added + 1] = member
      count = count + 1
    end
    if old_key then count = count - 1 end
    if not stored[i] then known = known + 1 end
    versions[#versions + 1] = ids[i]
    versions[#versions + 1] = version
    members[i], keys[i] = member, visible and sort_key
  end
end
send('ZREM', RANKING, removed)
send('ZADD', RANKING, added)
send('HSET', VERSIONS, versions)
if ties == 'dense' then
  for _, i in ipairs(fresh) do
    if keys[i] then redis.call('ZADD', DISTINCT, keys[i], keys[i]) end
  end
  for _, i in ipairs(fresh) do
    if old_keys[i] and ties_at(old_keys[i]) == 0 then redis.call('ZREM', DISTINCT, old_keys[i]) end
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
for _, i in ipairs(fresh) do
  changed = changed or (old_keys[i] and tonumber(old_keys[i]) <= edge_before)
    or (keys[i] and tonumber(keys[i]) <= edge_after)
end
local page = changed and redis.call('HINCRBY', STATE, 'page', 1) or tonumber(s[3])
local answer = {'ready', s[2], page, tonumber(s[4]) + count}
better = {}
for i = 1, n do
  local key = keys[i]
  local at = 5 * i
  answer[at] = previous[i] or false
  local rank, tied = false, false
  if key then
    rank = rank_at(members[i], key)
    tied = on[key]
    if not tied then
      tied = ties_with(ties, rank, key)
      on[key] = tied
    end
  end
  answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = rank, tied, key or false, old_keys[i] or false
end
return answer
