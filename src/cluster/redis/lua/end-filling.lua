-- who has filled
if filling ~= ARGV[rest] then return "other" end
filling = "-"
saveFilter()
call("DEL", shard .. ":filling")
return covered + 0 >= version + 0 and "whole" or "behind"
