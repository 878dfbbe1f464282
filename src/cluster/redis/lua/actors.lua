-- count → actor and overlay entry of each
return call("HGETALL", shard .. ":r:" .. ARGV[rest])
