-- number of counts, then group, id and hash of each; then group, id, actor and the two hashes of each register
-- → incarnation, version, position, end, epoch, changes, pasts, counts …, overlay entries …
local answer = { incarnation, version, position, ending, epoch, changes, pasts }
local at = 7
local registers = rest + 1 + 3 * ARGV[rest]
for a = rest + 1, registers - 1, 3 do
  at = at + 1
  answer[at] = shown(ARGV[a], ARGV[a + 1], ARGV[a + 2])
end
for a = registers, #ARGV, 5 do
  at = at + 1
  answer[at] = call("HGET", shard .. ":r:" .. ARGV[a] .. "/" .. ARGV[a + 1], ARGV[a + 2])
  if not answer[at] and isNever(ARGV[a + 3], ARGV[a + 4]) then answer[at] = "0 " end
end
return answer
