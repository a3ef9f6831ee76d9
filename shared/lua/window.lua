-- A run of places: a page, or the neighbourhood of one user.
-- ARGV: origin, idle_ms, ties, 'page', offset, limit, known  or  ..., 'around', user_id, radius, ''.
--   known: "token/page" of the copy the caller holds; when it is current only the counters return.
-- Returns a miss; {'ready', token, page, count} when `known` is current; else
--   {'ready', token, page, count, start, players better than the first, rank of the first,
--    ties of the first, ties of the last, member, sort_key, ...}; start is -1 when the user has no entry.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])
local ties, kind = ARGV[3], ARGV[4]
local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4])}
if ARGV[7] == s[2] .. '/' .. s[3] then return answer end

local start, stop
if kind == 'page' then
  start = tonumber(ARGV[5])
  stop = start + tonumber(ARGV[6]) - 1
else
  local member = ARGV[5]
  if ties == 'first' then
    local stored = redis.call('HGET', VERSIONS, member)
    if stored then
      local _, prefix = split(stored)
      member = prefix .. member
    end
  end
  local place = redis.call('ZRANK', RANKING, member)
  if not place then
    answer[5] = -1
    return answer
  end
  start = math.max(0, place - tonumber(ARGV[6]))
  stop = place + tonumber(ARGV[6])
end

local rows = redis.call('ZRANGE', RANKING, start, stop, 'WITHSCORES')
answer[5] = start
if #rows == 0 then return answer end
answer[7] = rank_of(ties, rows[1], rows[2])
answer[6] = better_than(ties, answer[7], rows[2])
answer[8] = ties_at(rows[2])
answer[9] = ties_at(rows[#rows])
for i = 1, #rows do answer[9 + i] = rows[i] end
return answer
