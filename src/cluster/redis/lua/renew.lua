-- identity, 0, incarnation, version, position, epoch, the epoch known to be rolled back (or empty), name of the next
-- generation of bases, then source and last n of each → the epoch that there is now
local head = call("HMGET", shard, "identity", "epoch", "filter", "incarnation", "version", "bases")
if head[1] == ARGV[1] and head[2] ~= ARGV[7] then return head[2] end
call("HSET", shard, "identity", ARGV[1], "end", "Infinity", "epoch", ARGV[6])
if head[1] then
  -- Who fills the filter cannot know what of it was lost.
  if head[3] and not string.find(head[3], " - ", 1, true) then call("HDEL", shard, "filter") end
  -- Nobody is shown less than the ledger had when the data came back.
  call("HSET", shard, "since", ARGV[4])
  if head[4] ~= ARGV[3] or head[5] + 0 < ARGV[4] + 0 then giveUpBases(call("HGETALL", shard), head[6], ARGV[8]) end
  return ARGV[6]
end

-- Nothing is left where a whole server lost its data; somebody may have deleted single keys.
for _, count in ipairs(call("SMEMBERS", shard .. ":names")) do call("DEL", shard .. ":r:" .. count) end
for _, part in ipairs({ ":names", ":sums", ":tallies", ":keyed", ":past" }) do call("DEL", shard .. part) end
call("HSET", shard, "incarnation", ARGV[3], "version", ARGV[4], "position", ARGV[5], "bases", ARGV[8])
-- Before the first commit there is nothing to be read.
if ARGV[4] == "0" then call("HSET", shard, "filter", "0 - 0 0") end
for a = 9, #ARGV, 2 do call("HSET", shard, ">" .. ARGV[a], ARGV[a + 1]) end
if call("EXISTS", shard .. ":old") == 1 then call("HSET", shard, "old", "1") end
return ARGV[6]
