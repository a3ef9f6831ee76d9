-- Take the load lock of a ranking, unless someone loads it or it is ready.
-- ARGV: origin, token, lock_ms. Returns 'mine', 'loading' or 'ready'.
local found = redis.pcall('HMGET', STATE, 'status', 'origin')
if not found.err and found[1] and found[2] == ARGV[1] then
  local intact = pcall(open, ARGV[1])
  if intact and redis.call('EXISTS', STATE) == 1 then return found[1] end
end
redis.call('UNLINK', STATE, RANKING, VERSIONS, DISTINCT)
redis.call('HSET', STATE, 'status', 'loading', 'origin', ARGV[1], 'token', ARGV[2],
           'page', 0, 'count', 0, 'known', 0)
redis.call('PEXPIRE', STATE, ARGV[3])
return 'mine'
