-- The places of some users. ARGV: origin, idle_ms, ties, user_id...
-- Returns a miss, or {'ready', token, page, count, rank, ties, sort_key, better, ...}: four values
-- a user, all false for one who has no entry; better: players with a better score.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
keep(ARGV[2])
local ties = ARGV[3]
local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4])}
for i = 4, #ARGV do
  local member = member_of(ties, ARGV[i])
  local sort_key = redis.call('ZSCORE', RANKING, member)
  local at = #answer
  if sort_key then
    local rank = rank_of(ties, member, sort_key)
    local better = better_than(ties, rank, sort_key)
    answer[at + 1] = rank
    -- Counted from the best score on: cheaper than between two scores.
    answer[at + 2] = redis.call('ZCOUNT', RANKING, '-inf', sort_key) - better
    answer[at + 3] = sort_key
    answer[at + 4] = better
  else
    for n = 1, 4 do answer[at + n] = false end
  end
end
return answer
