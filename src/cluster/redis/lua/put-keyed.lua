-- key, group, id, hash, amount, source, n, at, version at which the ledger had no such key, body, whether it is of another time
-- ("1") or now (empty)
-- → "decided", "behind", or whether it is this one that counts, the body, the count as it shows now
local key, group, id, hash, amount = ARGV[rest], ARGV[rest + 1], ARGV[rest + 2], ARGV[rest + 3], ARGV[rest + 4]
local source, n, body = ARGV[rest + 5], ARGV[rest + 6], ARGV[rest + 9]
if tonumber(n) <= (known[">" .. source] or 0) then return "decided" end
local text = call("HGET", shard .. ":keyed", key)
local mine = n .. " " .. source
if text then
  local by
  by, body = string.match(text, "^[^\n]+\n[^\n]+\n([^\n]+)\n[^\n]+\n(.*)$")
  return { by == mine and "1" or "0", body, shown(group, id, hash) }
end
if ARGV[rest + 8] ~= version then return "behind" end
local count = group .. "/" .. id
call("HSET", shard .. ":keyed", key, table.concat({ count, amount, mine, ARGV[rest + 7], body }, "\n"))
if amount ~= "0" then
  shift(count, amount)
  if ARGV[rest + 10] ~= "" then tellPast(count, amount) end
  saveTold()
end
return { "1", body, shown(group, id, hash) }
