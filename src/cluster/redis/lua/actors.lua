-- count, how many at most → actor and overlay entry of each, or "many"
local actors = shard .. ":r:" .. ARGV[rest]
if call("HLEN", actors) > ARGV[rest + 1] + 0 then return "many" end
return call("HGETALL", actors)
