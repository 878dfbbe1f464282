import { expect, test } from "bun:test";
import { SHARDS } from "../arithmetic/shard.ts";
import { HotStoreAway, type ShardHead } from "../ports/hot-store.ts";
import { Mender } from "./mender.ts";

/** A ledger and copies of it that are told of nothing but by repairs. */
function world() {
  const versions = Array<number>(SHARDS).fill(0);
  const copies: (number | null)[] = Array(SHARDS).fill(0);
  const state = { asked: [] as number[], repaired: [] as number[], isAway: false };
  const mender = new Mender({
    ledger: { shards: async () => versions.map((version) => ({ version, stampMax: 0 })) },
    hot: {
      async heads(shards: readonly number[]) {
        if (state.isAway) throw new HotStoreAway("away");
        state.asked.push(...shards);
        return shards.map((shard) => (copies[shard] === null ? null : ({ version: copies[shard] } as ShardHead)));
      },
    } as never,
    shards: {
      async repair(shard: number) {
        state.repaired.push(shard);
        copies[shard] = versions[shard] as number;
      },
    } as never,
  });
  const look = async () => {
    state.asked = [];
    await mender.watch();
    const asked = [...state.asked];
    await mender.mend();
    return asked;
  };
  return { versions, copies, state, look };
}

test("a copy that nobody told of a commit is brought up to it, and not before its projector had the time", async () => {
  const { versions, copies, state, look } = world();
  await look();
  versions[3] = versions[4] = versions[5] = 7;
  copies[4] = 7;
  copies[5] = null;
  expect(await look()).toEqual([]);
  expect(state.repaired).toEqual([]);
  expect(await look()).toEqual([3, 4, 5]);
  expect([state.repaired, copies[3]]).toEqual([[3], 7]);
});

test("only what has changed is asked for", async () => {
  const { versions, copies, state, look } = world();
  for (const version of [1, 2]) {
    versions[9] = copies[9] = version;
    await look();
  }
  expect(await look()).toEqual([9]);
  expect(await look()).toEqual([]);
  // A ledger that was made again begins anew.
  versions[9] = copies[9] = 1;
  await look();
  expect(await look()).toEqual([9]);
  expect(state.repaired).toEqual([]);
});

test("while Redis is away it stays open", async () => {
  const { versions, state, look } = world();
  versions[2] = 1;
  await look();
  state.isAway = true;
  await expect(look()).rejects.toThrow("away");
  state.isAway = false;
  expect(await look()).toEqual([2]);
  expect(state.repaired).toEqual([2]);
});
