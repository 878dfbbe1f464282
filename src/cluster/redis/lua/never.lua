-- hashes of registers → incarnation, version, then the places of those (from 0) of which the filter says that they never were
local answer = { incarnation, version }
for a = rest, #ARGV, 2 do
  if isNever(ARGV[a], ARGV[a + 1]) then answer[#answer + 1] = (a - rest) / 2 .. "" end
end
return answer
