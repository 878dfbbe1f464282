-- → "n source" of each group of tallies that is on its way
return call("HKEYS", shard .. ":tallies")
