-- identity and 0 (unused), then metric:actor, subject and stamp of each; a hint for a later act stays
for a = 3, #ARGV, 3 do
  local key = KEYS[1] .. ":" .. ARGV[a]
  local stamp = redis.call("ZSCORE", key, ARGV[a + 1])
  if stamp and tonumber(stamp) <= tonumber(ARGV[a + 2]) then redis.call("ZREM", key, ARGV[a + 1]) end
end
return "ok"
