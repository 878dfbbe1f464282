-- key → body, at
local text = call("HGET", shard .. ":keyed", ARGV[rest])
if not text then return false end
local at, body = string.match(text, "^[^\n]+\n[^\n]+\n[^\n]+\n([^\n]+)\n(.*)$")
return { body, at }
