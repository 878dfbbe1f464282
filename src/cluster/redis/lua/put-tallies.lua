-- source, n, whether all of it is of another time ("1") or now (empty), then group, id, hash and amount of each
-- → the counts as they show now
local source, n, past = ARGV[rest], ARGV[rest + 1], ARGV[rest + 2]
if tonumber(n) > (known[">" .. source] or 0) then
  local lines = {}
  for a = rest + 3, #ARGV, 4 do
    lines[#lines + 1] = ARGV[a] .. "/" .. ARGV[a + 1]
    lines[#lines + 1] = ARGV[a + 3]
  end
  if call("HSETNX", shard .. ":tallies", n .. " " .. source, table.concat(lines, "\n")) == 1 then
    for i = 1, #lines, 2 do
      if lines[i + 1] ~= "0" then
        shift(lines[i], lines[i + 1])
        if past ~= "" then tellPast(lines[i], lines[i + 1]) end
      end
    end
    saveTold()
  end
end
local answer = {}
local at = 0
for a = rest + 3, #ARGV, 4 do
  at = at + 1
  answer[at] = shown(ARGV[a], ARGV[a + 1], ARGV[a + 2])
end
return answer
