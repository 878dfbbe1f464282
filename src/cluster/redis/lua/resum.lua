-- Adds up anew what is on its way.
call("DEL", shard .. ":sums")
for _, count in ipairs(call("SMEMBERS", shard .. ":names")) do
  local entries = call("HVALS", shard .. ":r:" .. count)
  for _, text in ipairs(entries) do
    local stamp, under = string.match(text, "^(%d+) (%d+) ")
    local by = stamp % 2 - under % 2
    if by ~= 0 then shift(count, by > 0 and "1" or "-1") end
  end
end
for _, text in ipairs(call("HVALS", shard .. ":tallies")) do
  for count, amount in string.gmatch(text, "([^\n]+)\n(%-?%d+)") do
    if amount ~= "0" then shift(count, amount) end
  end
end
for _, text in ipairs(call("HVALS", shard .. ":keyed")) do
  local count, amount = string.match(text, "^([^\n]+)\n(%-?%d+)\n")
  if amount ~= "0" then shift(count, amount) end
end
return "ok"
