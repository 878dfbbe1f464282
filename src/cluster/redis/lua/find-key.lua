-- key → body
local text = call("HGET", shard .. ":keyed", ARGV[rest])
if not text then return false end
return { (string.match(text, "^[^\n]+\n[^\n]+\n[^\n]+\n[^\n]+\n(.*)$")) }
