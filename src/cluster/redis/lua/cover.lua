-- incarnation, version of a commit, then hashes of its registers
if incarnation ~= ARGV[rest] or not covers(ARGV[rest + 1]) then return "behind" end
for a = rest + 2, #ARGV, 2 do remember(ARGV[a], ARGV[a + 1]) end
saveFilter()
return "ok"
