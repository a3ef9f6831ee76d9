-- limit: a token from a bucket that several gateways share (the generic cell rate algorithm).
-- KEYS[1]: when the bucket will be full, in microseconds of this server's clock; gone once it is.
-- ARGV: microseconds to gain a token, tokens a bucket holds.
-- Returns: 1 or 0, tokens left, microseconds until the bucket is full or, refused, until the next token.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local pace, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = tonumber(redis.call('GET', KEYS[1]) or '0')
-- Never further ahead than an empty bucket: a clock that was set back locks nobody out.
local full_at = math.min(math.max(known, now), now + burst * pace) + pace
local ahead = full_at - now
if ahead > burst * pace + 1 then
  return {0, 0, ahead - burst * pace}
end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil(ahead / 1000))
return {1, math.floor(burst - ahead / pace + 0.001), ahead}
