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
  local member = ARGV[i]
  if ties == 'first' then
    local stored = redis.call('HGET', VERSIONS, member)
    if stored then
      local _, prefix = split(stored)
      member = prefix .. member
    end
  end
  local sort_key = redis.call('ZSCORE', RANKING, member)
  answer[#answer + 1] = sort_key and rank_of(ties, member, sort_key)
  answer[#answer + 1] = sort_key and ties_at(sort_key)
  answer[#answer + 1] = sort_key
  answer[#answer + 1] = sort_key and better_than(ties, answer[#answer - 2], sort_key)
end
return answer
