-- The rank a score would have. ARGV: origin, idle_ms, ties, sort_key.
-- Returns a miss, or {'ready', token, page, count, rank, players on that score}; under ties = first
-- the rank is behind all who have the score already.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])
local ties, sort_key = ARGV[3], ARGV[4]
local sharing = ties_at(sort_key)
local counted = ties == 'dense' and DISTINCT or RANKING
local rank = redis.call('ZCOUNT', counted, '-inf', '(' .. sort_key) + 1
if ties == 'first' then rank = rank + sharing end
return {'ready', s[2], tonumber(s[3]), tonumber(s[4]), rank, sharing}
