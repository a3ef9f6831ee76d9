-- How many players there are in equal ranges of sort keys. ARGV: origin, idle_ms, buckets.
-- Returns a miss, or {'ready', token, page, count, from, to, players, ...}; both ends belong to a
-- range. The first range starts at the least sort key, the last one ends at the greatest.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])
local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4])}
local least = redis.call('ZRANGE', RANKING, 0, 0, 'WITHSCORES')[2]
if not least then return answer end
least = tonumber(least)
local greatest = tonumber(redis.call('ZRANGE', RANKING, -1, -1, 'WITHSCORES')[2])
-- Keys are exact to 2^53, what they span may be twice as much: the ends are divided each by itself.
local buckets = math.min(tonumber(ARGV[3]), greatest - least + 1)
local below, beyond = math.fmod(least, buckets), math.fmod(greatest + 1, buckets)
local width = (greatest + 1 - beyond) / buckets - (least - below) / buckets
local wider = beyond - below -- so many ranges hold one key more, spread evenly
width, wider = width + math.floor(wider / buckets), wider % buckets
local from, even = least, least
for i = 1, buckets do
  even = even + width
  local to = even + math.floor(i * wider / buckets) - 1
  if i == buckets then to = greatest end
  local first, last = string.format('%.0f', from), string.format('%.0f', to)
  answer[#answer + 1] = first
  answer[#answer + 1] = last
  answer[#answer + 1] = redis.call('ZCOUNT', RANKING, first, last)
  from = to + 1
end
return answer
