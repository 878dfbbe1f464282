-- → incarnation, version, position, end, epoch, then as lists: sums, tallies, keyed, and of each register its count, actor
-- and entry
local registers = {}
for _, count in ipairs(call("SMEMBERS", shard .. ":names")) do
  local entries = call("HGETALL", shard .. ":r:" .. count)
  for i = 1, #entries, 2 do
    registers[#registers + 1] = count
    registers[#registers + 1] = entries[i]
    registers[#registers + 1] = entries[i + 1]
  end
end
return {
  incarnation, version, position, ending, epoch,
  call("HGETALL", shard .. ":sums"), call("HGETALL", shard .. ":tallies"), call("HGETALL", shard .. ":keyed"),
  registers,
}
