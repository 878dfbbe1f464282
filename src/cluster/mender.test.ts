import { expect, test } from "bun:test";
import { SHARDS } from "../arithmetic/shard.ts";
import { HotStoreAway, type ShardHead } from "../ports/hot-store.ts";
import { Mender } from "./mender.ts";

/** A ledger and copies of it that are told of nothing but by repairs. */
async function world() {
  const versions = Array<number>(SHARDS).fill(0);
  const copies: (number | null)[] = Array(SHARDS).fill(0);
  const state = { asked: [] as number[], repaired: [] as number[], isAway: false, incarnation: "i" };
  const incarnations = Array<string>(SHARDS).fill(state.incarnation);
  const mender = new Mender({
    ledger: {
      shards: async () => versions.map((version) => ({ incarnation: state.incarnation, version, stampMax: 0 })),
    },
    hot: {
      async heads(shards: readonly number[]) {
        if (state.isAway) throw new HotStoreAway("away");
        state.asked.push(...shards);
        return shards.map((shard) => {
          const version = copies[shard] as number | null;
          return version === null ? null : ({ incarnation: incarnations[shard], version } as ShardHead);
        });
      },
    } as never,
    shards: {
      async repair(shard: number) {
        state.repaired.push(shard);
        copies[shard] = versions[shard] as number;
        incarnations[shard] = state.incarnation;
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
  // The first looks: at all.
  await look();
  await look();
  return { versions, copies, state, mender, look };
}

test("a copy that nobody told of a commit is brought up to it, and not before its projector had the time", async () => {
  const { versions, copies, state, look } = await world();
  versions[3] = versions[4] = versions[5] = 7;
  copies[4] = 7;
  copies[5] = null;
  expect(await look()).toEqual([]);
  expect(state.repaired).toEqual([]);
  expect(await look()).toEqual([3, 4, 5]);
  expect([state.repaired, copies[3]]).toEqual([[3], 7]);
});

test("only what has changed is asked for", async () => {
  const { versions, copies, state, look } = await world();
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
  const { versions, state, look } = await world();
  versions[2] = 1;
  await look();
  state.isAway = true;
  await expect(look()).rejects.toThrow("away");
  state.isAway = false;
  expect(await look()).toEqual([2]);
  expect(state.repaired).toEqual([2]);
});

test("a copy that knows more than a ledger that was restored is repaired, and not one that is only newer than the last look", async () => {
  const { versions, copies, state, look } = await world();
  versions[3] = copies[3] = versions[4] = copies[4] = 7;
  await look();
  await look();
  versions[3] = 5;
  versions[4] = copies[4] = 8;
  await look();
  expect(await look()).toContain(3);
  expect([state.repaired, copies[3]]).toEqual([[3], 5]);
});

test("another ledger: whatever its numbers, no copy is of it", async () => {
  const { versions, copies, state, look } = await world();
  versions[3] = copies[3] = 7;
  await look();
  await look();
  versions[3] = 5;
  state.incarnation = "j";
  await look();
  await look();
  expect(state.repaired).toEqual([...Array(SHARDS).keys()]);
});

test("what one repair does not mend is looked at again", async () => {
  const { versions, copies, state, mender } = await world();
  versions[3] = 2;
  mender.suspect([3]);
  await mender.mend();
  copies[3] = 1;
  await mender.mend();
  expect([state.repaired, copies[3]]).toEqual([[3, 3], 2]);
  await mender.mend();
  copies[3] = 1;
  await mender.mend();
  expect(state.repaired).toEqual([3, 3]);
});

test("before a projector applies anything only copies of an older ledger's lost commits go", async () => {
  const { versions, copies, state, mender } = await world();
  [versions[3], copies[3]] = [5, 7];
  [versions[4], copies[4]] = [7, 5];
  await mender.abandonOlder();
  expect(state.repaired).toEqual([3]);
});
