-- of each source that the ledger does not keep here any more: its name and the number that was seen
for a = rest, #ARGV, 2 do
  local field = ">" .. ARGV[a]
  local last = call("HGET", shard, field)
  if last and last + 0 <= ARGV[a + 1] + 0 then call("HDEL", shard, field) end
end
return "ok"
