-- Which registers the ledger has (isNever of arithmetic/shard.ts): a Bloom filter in blocks of 32 bytes, so that a look takes
-- one command for each layer (Putze, Sanders and Singler 2007), which grows by layers, each with four times the room of the
-- one before (Almeida et al. 2007). The caller hashes: one number for the block, four bytes of another for the bits.
local BLOCKS, ROOM = 64, 1280
local covered, filling, layers, entries

-- Only for who asks: most that is read is counts.
local function readFilter()
  covered, filling, layers, entries = string.match(filter or "", "^(%d+) (%S+) (%d+) (%d+)$")
end

local function blockOf(layer, hash)
  local at = hash % (BLOCKS * 4 ^ layer) * 32
  return shard .. ":f" .. layer, at, call("GETRANGE", shard .. ":f" .. layer, at .. "", at + 31 .. "")
end

local function isIn(block, bits)
  -- Gone: it may have had anything.
  if #block < 32 then return true end
  for _ = 1, 4 do
    local bit = bits % 256
    bits = (bits - bit) / 256
    local mask = 2 ^ (bit % 8)
    if string.byte(block, (bit - bit % 8) / 8 + 1) % (2 * mask) < mask then return false end
  end
  return true
end

-- In the layers from this one down to the first.
local function mayHave(newest, hash, bits)
  for layer = newest, 0, -1 do
    local _, _, block = blockOf(layer, hash)
    if isIn(block, bits) then return true end
  end
  return false
end

local function isNever(hash, bits)
  if not layers then readFilter() end
  return filling == "-" and covered + 0 >= version + 0 and not mayHave(layers - 1, hash, bits)
end
