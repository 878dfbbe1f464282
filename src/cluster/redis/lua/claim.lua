-- Of visitors, not of a shard. identity, who claims, for how many ms, the act's key or "", its body, for how many ms the key is
-- kept, the names. All of them are won or none. How it is, and for how many ms yet: "won", "taken"; "kept" with the outcome
-- (1 or 0) and the body that the key had.
local call = redis.call
local _, token, window, key, body, keptMs = unpack(ARGV, 1, 6)
local base = KEYS[1] .. ":"
if key ~= "" then
  local known = call("GET", base .. "k" .. key)
  if known then return {"kept", known} end
end
local result, leftMs = "won", window
for a = 7, #ARGV do
  local holder = call("GET", base .. ARGV[a])
  if holder then
    leftMs = call("PTTL", base .. ARGV[a])
    -- A key that is not known any more is another act's by now.
    if holder ~= token or key ~= "" then result = "taken" break end
  end
end
if result == "won" then
  for a = 7, #ARGV do call("SET", base .. ARGV[a], token, "NX", "PX", window) end
end
if key ~= "" then call("SET", base .. "k" .. key, (result == "won" and "1" or "0") .. body, "PX", keptMs) end
return {result, tostring(leftMs)}
