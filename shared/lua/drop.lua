-- Give a copy up: whoever needs it next loads it. ARGV: origin, token of the copy meant.
local s = open(ARGV[1])
if not s or s[2] ~= ARGV[2] then return 0 end
return redis.call('UNLINK', STATE, RANKING, VERSIONS, DISTINCT)
