import { expect, test } from "bun:test";
import { SHARDS } from "../arithmetic/shard.ts";
import { HotStoreAway, type ShardHead } from "../ports/hot-store.ts";
import { CopyWatch } from "./copy-watch.ts";
import { Freshness } from "./freshness.ts";

/** A ledger, and copies that are told of its commits by the test alone. */
function world(everyMs = 0) {
  const versions = Array<number>(SHARDS).fill(0);
  const copies: (number | null)[] = Array(SHARDS).fill(0);
  const state = { isAway: false };
  const freshness = new Freshness(Freshness.allocate(1));
  const watch = new CopyWatch({
    hot: {
      async heads(shards: readonly number[]) {
        if (state.isAway) throw new HotStoreAway("away");
        return shards.map((shard) => {
          const version = copies[shard] as number | null;
          return version === null ? null : ({ incarnation: "i", version } as ShardHead);
        });
      },
    },
    ledger: { shards: async () => versions.map((version) => ({ incarnation: "i", version, stampMax: 0 })) },
    freshness,
    everyMs,
  });
  return { versions, copies, state, freshness, look: () => watch.look() };
}

test("a copy that stays behind is not taken for less than the ledger had a look ago", async () => {
  const { versions, copies, freshness, look } = world();
  await look();
  versions[3] = versions[4] = versions[5] = 7;
  copies[4] = 7;
  copies[5] = null;
  await look();
  expect(freshness.versionOf(3)).toBe(0); // its projector may be about to tell it
  versions[3] = 9;
  await look();
  expect([3, 4, 5].map((shard) => freshness.versionOf(shard))).toEqual([7, 0, 0]);
  await look();
  expect(freshness.versionOf(3)).toBe(9);
});

test("an older ledger, restored between two looks, is not taken for the newer one", async () => {
  const { versions, copies, freshness, look } = world();
  versions[3] = 7;
  copies[3] = 6;
  await look();
  versions[3] = 5;
  await look();
  expect(freshness.versionOf(3)).toBe(5);
});

test("it looks now and again, and again after Redis was away", async () => {
  const { versions, copies, state, freshness, look } = world();
  versions[3] = 1;
  await look();
  state.isAway = true;
  await expect(look()).rejects.toThrow("away");
  state.isAway = false;
  await look();
  expect([copies[3], freshness.versionOf(3)]).toEqual([0, 1]);
  const seldom = world(60_000);
  seldom.versions[3] = 1;
  for (let i = 0; i < 3; i++) await seldom.look();
  expect(seldom.freshness.versionOf(3)).toBe(0);
});
