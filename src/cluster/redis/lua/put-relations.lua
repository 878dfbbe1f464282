-- of each event: group, id and hash, actor, stamp, source, n, stamp and version of the hint (both empty: none), the register's
-- two hashes, whether it is of another time ("1") or now (empty)
-- → of each: "miss", "behind", "decided" and the count, or the stamp seen, the stamp now, the count as it shows now
local answer = {}
local at = 0
local function say(value)
  at = at + 1
  answer[at] = value
end

for a = rest, #ARGV, 12 do
  local group, id, hash, actor, stamp = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  local source, n, hint = ARGV[a + 5], ARGV[a + 6], ARGV[a + 7]
  if tonumber(n) <= (known[">" .. source] or 0) then
    say("decided")
    say(shown(group, id, hash))
  else
    local count = group .. "/" .. id
    local key = shard .. ":r:" .. count
    local text = call("HGET", key, actor)
    local seen, under = hint, hint
    if text then
      seen, under = string.match(text, "^(%d+) (%d+) ")
    elseif hint == "" then
      if isNever(ARGV[a + 9], ARGV[a + 10]) then seen, under = "0", "0" else seen = "miss" end
    elseif ARGV[a + 8] ~= version then
      seen = "behind"
    end
    say(seen)
    local before = tonumber(seen)
    if before then
      local sum
      if stamp + 0 > before then
        call("HSET", key, actor, stamp .. " " .. under .. " " .. n .. " " .. source)
        if not text then call("SADD", shard .. ":names", count) end
        local by = stamp % 2 - before % 2
        -- As text: Redis would print the number with %.17g, which takes longer than the command.
        if by ~= 0 then
          sum = shift(count, by > 0 and "1" or "-1")
          if ARGV[a + 11] ~= "" then tellPast(count, by) end
        end
        say(stamp)
      else
        say(seen)
      end
      say(shown(group, id, hash, sum))
    end
  end
end
saveTold()
return answer
