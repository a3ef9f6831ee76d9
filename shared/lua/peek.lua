-- What the copy holds of some users, for whoever compares it with Postgres. ARGV: origin, user_id...
-- Returns a miss, or {'ready', token, page, count, version, prefix, sort_key, ...}: three values a
-- user; version and prefix are false for one not known, sort_key for one not ranked.
local s = open(ARGV[1])
if not s then return {'miss'} end
if s[1] ~= 'ready' then return miss(s) end
local answer = {'ready', s[2], tonumber(s[3]), tonumber(s[4])}
for i = 2, #ARGV do
  local stored = redis.call('HGET', VERSIONS, ARGV[i])
  local version, prefix = false, false
  if stored then version, prefix = split(stored) end
  answer[#answer + 1] = version
  answer[#answer + 1] = prefix
  answer[#answer + 1] = redis.call('ZSCORE', RANKING, (prefix or '') .. ARGV[i])
end
return answer
