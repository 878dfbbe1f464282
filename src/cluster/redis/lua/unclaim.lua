-- identity, who has claimed, the names: what is still his is given back
for a = 3, #ARGV do
  local name = KEYS[1] .. ":" .. ARGV[a]
  if redis.call("GET", name) == ARGV[2] then redis.call("DEL", name) end
end
return "ok"
