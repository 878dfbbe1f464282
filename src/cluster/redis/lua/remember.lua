readFilter()

-- Puts registers into the filter; what changes of it stands in the head, see saveFilter.
local function remember(hash, bits)
  local key, at, block
  if layers + 0 > 0 then
    key, at, block = blockOf(layers - 1, hash)
    if isIn(block, bits) or mayHave(layers - 2, hash, bits) then return end
  end
  if layers + 0 == 0 or entries + 0 >= ROOM * 4 ^ (layers - 1) then
    call("DEL", shard .. ":f" .. layers)
    call("SETRANGE", shard .. ":f" .. layers, BLOCKS * 4 ^ layers * 32 - 1 .. "", "\0")
    layers, entries = layers + 1, 0
    key, at, block = blockOf(layers - 1, hash)
  end
  local bytes = { string.byte(block, 1, 32) }
  for _ = 1, 4 do
    local bit = bits % 256
    bits = (bits - bit) / 256
    local index, mask = (bit - bit % 8) / 8 + 1, 2 ^ (bit % 8)
    if bytes[index] % (2 * mask) < mask then bytes[index] = bytes[index] + mask end
  end
  call("SETRANGE", key, at .. "", string.char(unpack(bytes)))
  entries = entries + 1
end

local function saveFilter()
  call("HSET", shard, "filter", table.concat({ covered, filling, layers, entries }, " "))
end

-- Whether it has all commits before this one, so that it may take in what this one brought.
local function covers(commit)
  if not covered or covered + 1 < commit + 0 then return false end
  if covered + 0 < commit + 0 then covered = commit end
  return true
end
