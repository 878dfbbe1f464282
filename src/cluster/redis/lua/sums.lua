-- → the counts that what is on its way will change
return call("HKEYS", shard .. ":sums")
