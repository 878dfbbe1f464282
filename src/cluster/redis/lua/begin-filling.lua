-- who fills, for how many seconds nobody else may begin
if filling == "-" and covered + 0 >= version + 0 then return "whole" end
if not call("SET", shard .. ":filling", ARGV[rest], "NX", "EX", ARGV[rest + 1]) then return "busy" end
covered, filling, layers, entries = version, ARGV[rest], layers or "0", entries or "0"
saveFilter()
return "ok"
