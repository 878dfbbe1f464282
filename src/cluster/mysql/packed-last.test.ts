import { expect, test } from "bun:test";
import { SHARDS } from "../../arithmetic/shard.ts";
import { PACKED_BYTES_MAX, packLast, unpackLast } from "./packed-last.ts";

const EDGES = [
  0,
  1,
  127,
  128,
  129,
  16_383,
  16_384,
  2 ** 31,
  2 ** 32 + 1,
  2 ** 49 - 1,
  2 ** 49,
  Number.MAX_SAFE_INTEGER,
];

test("last numbers come out as they went in, wherever they stand", () => {
  for (const edge of EDGES) {
    for (const shard of [0, 1, 100, SHARDS - 1]) {
      const last = new Float64Array(SHARDS);
      last[shard] = edge;
      if (shard > 0) last[shard - 1] = 300;
      expect(unpackLast(packLast(last))).toEqual(last);
    }
  }
  const all = Float64Array.from({ length: SHARDS }, (_, shard) => EDGES[shard % EDGES.length] as number);
  expect(unpackLast(packLast(all))).toEqual(all);
});

test("nothing takes no byte, and the most fits its column", () => {
  expect(packLast(new Float64Array(SHARDS))).toHaveLength(0);
  const most = new Float64Array(SHARDS).fill(Number.MAX_SAFE_INTEGER);
  expect(packLast(most)).toHaveLength(PACKED_BYTES_MAX);
  expect(unpackLast(packLast(most))).toEqual(most);
});
