-- epoch, end. The lowest stays: all ends of an epoch were read after it began, and the log may have lost its tail since.
local now = ARGV[rest + 1]
if epoch ~= ARGV[rest] or (ending ~= "Infinity" and tonumber(now) >= tonumber(ending)) then return "other" end
call("HSET", shard, "end", now)
return "ok"
