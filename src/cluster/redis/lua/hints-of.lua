-- identity and 0 (unused), metric:actor
return redis.call("ZRANGE", KEYS[1] .. ":" .. ARGV[3], 0, -1)
