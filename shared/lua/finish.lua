-- End a load: the copy is whole, readers may use it.
-- ARGV: origin, token, idle_ms. Returns 1, or 0 when the lock was lost meanwhile.
local s = open(ARGV[1])
if not s or s[1] ~= 'loading' or s[2] ~= ARGV[2] then return 0 end
redis.call('HSET', STATE, 'status', 'ready')
expire(ARGV[3])
return 1
