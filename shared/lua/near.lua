-- The rows around places where users of other shards would be (ties = competition only).
-- ARGV: origin, idle_ms, ties, then per place: sort_key, user_id, radius.
-- Returns a miss, or {'ready', token, page, count, frame, ...}: `radius` rows before the place, as many
-- behind it.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])

-- Whether a comes before b by their bytes, as in a sorted set; Lua's own < goes by the server's locale.
local function precedes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- How many come before a user who has this key, found by halving among those who have it too.
local function before(sort_key, user_id)
  local low = redis.call('ZCOUNT', RANKING, '-inf', '(' .. sort_key)
  local high = redis.call('ZCOUNT', RANKING, '-inf', sort_key)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if precedes(redis.call('ZRANGE', RANKING, middle, middle)[1], user_id) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4])}
for i = 4, #ARGV, 3 do
  local place, radius = before(ARGV[i], ARGV[i + 1]), tonumber(ARGV[i + 2])
  answer[#answer + 1] = frame(ARGV[3], math.max(0, place - radius), place + radius - 1)
end
return answer
