-- Of a bucket of actors, not of a shard. identity and 0 (unused), then metric:actor, subject and stamp of each
for a = 3, #ARGV, 3 do redis.call("ZADD", KEYS[1] .. ":" .. ARGV[a], "GT", ARGV[a + 2], ARGV[a + 1]) end
return "ok"
