-- Profiles changed: forget what is kept of them, and void every refill under way.
-- KEYS: the game's profile version, then a key per user. ARGV: a new version.
redis.call('SET', KEYS[1], ARGV[1])
for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
return 1
