-- A page. ARGV: origin, idle_ms, ties, offset, limit, known.
--   known: "token/page" of the copy the caller holds; when it is current only the counters return.
-- Returns a miss; {'ready', token, page, count} when `known` is current; else
--   {'ready', token, page, count, frame}.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])
local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4])}
if ARGV[6] == s[2] .. '/' .. s[3] then return answer end
answer[5] = frame(ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[4]) + tonumber(ARGV[5]) - 1)
return answer
