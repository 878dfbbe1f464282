-- identity; day, salt and for how many ms it is needed, of each: the salts that all agree upon, the first that were told
local salts = {}
for a = 2, #ARGV, 3 do
  local name = KEYS[1] .. ":" .. ARGV[a]
  redis.call("SET", name, ARGV[a + 1], "NX", "PX", ARGV[a + 2])
  if redis.call("PTTL", name) < tonumber(ARGV[a + 2]) then redis.call("PEXPIRE", name, ARGV[a + 2]) end
  salts[#salts + 1] = redis.call("GET", name)
end
return salts
