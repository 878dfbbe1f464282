-- who fills, for how many seconds nobody else may begin, then hashes of registers
if filling ~= ARGV[rest] then return "other" end
call("SET", shard .. ":filling", filling, "EX", ARGV[rest + 1])
for a = rest + 2, #ARGV, 2 do remember(ARGV[a], ARGV[a + 1]) end
saveFilter()
return "ok"
