-- How many are better than some sort keys, and how many are on them; the least and the greatest key.
-- ARGV: origin, idle_ms, sort_key...
-- Returns a miss, or {'ready', token, page, count, least, greatest, better, ties, ...}, two values a key.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])
local least = redis.call('ZRANGE', RANKING, 0, 0, 'WITHSCORES')[2] or false
local greatest = redis.call('ZRANGE', RANKING, -1, -1, 'WITHSCORES')[2] or false
local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4]), least, greatest}
for i = 3, #ARGV do
  local better = redis.call('ZCOUNT', RANKING, '-inf', '(' .. ARGV[i])
  answer[#answer + 1] = better
  answer[#answer + 1] = redis.call('ZCOUNT', RANKING, '-inf', ARGV[i]) - better
end
return answer
