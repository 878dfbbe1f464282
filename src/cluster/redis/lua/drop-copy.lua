-- epoch → "ok": there is no copy any more, or "behind": it is another one by now
if epoch ~= ARGV[rest] then return "behind" end
giveUpBases(call("HGETALL", shard), bases, "")
for _, count in ipairs(call("SMEMBERS", shard .. ":names")) do call("UNLINK", shard .. ":r:" .. count) end
for _, part in ipairs({ "", ":names", ":sums", ":tallies", ":keyed", ":past" }) do call("UNLINK", shard .. part) end
return "ok"
