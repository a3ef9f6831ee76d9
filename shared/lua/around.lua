-- The neighbourhoods of some users. ARGV: origin, idle_ms, ties, then per user: user_id, radius.
-- Returns a miss, or {'ready', token, page, count, frame, ...}; false for one who has no entry.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])
local ties = ARGV[3]
local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4])}
for i = 4, #ARGV, 2 do
  local place = redis.call('ZRANK', RANKING, member_of(ties, ARGV[i]))
  local radius = tonumber(ARGV[i + 1])
  answer[#answer + 1] = place and frame(ties, math.max(0, place - radius), place + radius)
end
return answer
