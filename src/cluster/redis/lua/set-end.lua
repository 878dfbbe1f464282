-- epoch, end, the end that was seen (or empty). The lowest stays: the log may have lost its tail since another was read.
local now, seen = ARGV[rest + 1], ARGV[rest + 2]
if epoch ~= ARGV[rest] or (seen ~= "" and seen ~= ending) then return "other" end
if ending ~= "Infinity" and tonumber(now) >= tonumber(ending) then return "other" end
call("HSET", shard, "end", now)
return "ok"
