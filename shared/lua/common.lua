-- Shared by every script of the ranking index; placed in front of each.
-- KEYS: state, ranking, versions, distinct (all of one ranking, one hash tag).
--   state     hash: status (loading | ready), token, origin, page, and how many there are of the others:
--             count, known, distinct (ties = dense only)
--   ranking   sorted set: member -> sort_key; smaller is better
--   versions  hash: user_id -> version, or version:prefix where ties = first
--   distinct  sorted set of the distinct sort_keys (ties = dense only)
-- Sort keys stay strings from end to end: a Lua number prints 2^53-1 as 9.007199254741e+15.
local STATE, RANKING, VERSIONS, DISTINCT = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- Returns {status, token, page, count}, or nil: a miss. A copy made elsewhere (another Redis,
-- another Postgres) is a miss; so is one that lost a key, to eviction for example.
local function open(origin)
  local s = redis.call('HMGET', STATE, 'status', 'token', 'page', 'count', 'known', 'origin', 'distinct')
  if not s[1] or s[6] ~= origin then return nil end
  if redis.call('ZCARD', RANKING) ~= tonumber(s[4]) or redis.call('HLEN', VERSIONS) ~= tonumber(s[5])
     or (s[7] and redis.call('ZCARD', DISTINCT) ~= tonumber(s[7])) then
    redis.call('DEL', STATE)
    return nil
  end
  return s
end

-- To be called after every change of `distinct`: without it, it would not be missed, and all ranks be 1.
local function note_distinct(ties)
  if ties == 'dense' then redis.call('HSET', STATE, 'distinct', redis.call('ZCARD', DISTINCT)) end
end

-- An index in use lives on; an idle one expires: the state first, then the rest, a minute later.
local function expire(ttl_ms)
  redis.call('PEXPIRE', STATE, ttl_ms)
  for _, key in ipairs({RANKING, VERSIONS, DISTINCT}) do
    redis.call('PEXPIRE', key, tonumber(ttl_ms) + 60000)
  end
end

local function keep(idle_ms)
  if redis.call('PTTL', STATE) < tonumber(idle_ms) / 2 then expire(idle_ms) end
end

local function rank_of(ties, member, sort_key)
  if ties == 'first' then return redis.call('ZRANK', RANKING, member) + 1 end
  local counted = ties == 'dense' and DISTINCT or RANKING
  return redis.call('ZCOUNT', counted, '-inf', '(' .. sort_key) + 1
end

-- Players with a better score than `sort_key`, whose rank is known.
local function better_than(ties, rank, sort_key)
  if ties == 'competition' then return rank - 1 end
  return redis.call('ZCOUNT', RANKING, '-inf', '(' .. sort_key)
end

-- What a reader gets while the copy is loading: token and page name the moment, so that an answer
-- from Postgres can be kept until the next apply.
local function miss(s)
  return {s[1], s[2], tonumber(s[3])}
end

local function ties_at(sort_key)
  return redis.call('ZCOUNT', RANKING, sort_key, sort_key)
end

-- The same where the rank is known: counting from the best down walks the list half as often as
-- counting between two equal bounds.
local function ties_with(ties, rank, sort_key)
  if ties ~= 'competition' then return ties_at(sort_key) end
  return redis.call('ZCOUNT', RANKING, '-inf', sort_key) - (rank - 1)
end

-- Splits a value of `versions` into its version and the prefix of the user's member.
local function split(value)
  local colon = string.find(value, ':', 1, true)
  if not colon then return value, '' end
  return string.sub(value, 1, colon - 1), string.sub(value, colon + 1)
end

-- The places start..stop (from 0), with what is needed to reckon their ranks:
--   {start, players better than the first, rank of the first, ties of the first, ties of the last,
--    rows to skip, rows, {member, sort_key, ...}}; {start} when there are none.
-- One row more on either side mostly tells where a group of equal scores begins and ends; only a
-- group that reaches beyond them is counted, from the best score on, which is the cheapest count.
local function frame(ties, start, stop)
  local skip = start > 0 and 1 or 0
  local found = redis.call('ZRANGE', RANKING, start - skip, stop + 1, 'WITHSCORES')
  local rows = math.min(#found / 2 - skip, stop - start + 1)
  if rows <= 0 then return {start} end
  local first, last = found[2 * skip + 2], found[2 * (skip + rows)]
  local better = start
  if skip == 1 and found[2] == first then better = redis.call('ZCOUNT', RANKING, '-inf', '(' .. first) end
  local following = found[2 * (skip + rows) + 2]
  local behind = start + rows -- how many are not behind the last one's score
  if following == last then behind = redis.call('ZCOUNT', RANKING, '-inf', last) end
  local first_ties, last_ties = behind - better, behind - better
  if first ~= last then
    local n = 1
    while found[2 * (skip + n) + 2] == first do n = n + 1 end
    first_ties = start + n - better
    n = 1
    while found[2 * (skip + rows - n)] == last do n = n + 1 end
    last_ties = behind - (start + rows - n)
  end
  local rank = ties == 'first' and start + 1 or better + 1
  if ties == 'dense' then rank = redis.call('ZCOUNT', DISTINCT, '-inf', '(' .. first) + 1 end
  return {start, better, rank, first_ties, last_ties, skip, rows, found}
end

-- The member of a user in the ranking.
local function member_of(ties, user_id)
  local stored = ties == 'first' and redis.call('HGET', VERSIONS, user_id)
  if not stored then return user_id end
  local _, prefix = split(stored)
  return prefix .. user_id
end
