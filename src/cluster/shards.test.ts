import { expect, test } from "bun:test";
import { type HotStore, HotStoreRefuses, type ShardHead, type ShardVersion } from "../ports/hot-store.ts";
import { Shards } from "./shards.ts";

const SHARD = 7;

/** A copy, with too much on its way to be looked through or nothing, and a ledger; what is asked of them is written down. */
function world(copyVersion: number, ledgerVersion: number, onTheWay: "many" | "nothing" = "many") {
  const head: ShardHead = { incarnation: "i", version: copyVersion, position: 5, end: 10, epoch: "old" };
  const version: ShardVersion = { shard: SHARD, incarnation: "i", version: ledgerVersion, position: 20, last: [] };
  const done: string[] = [];
  const refusal: { now: HotStoreRefuses | null } = { now: null };
  const hot: Partial<HotStore> = {
    heads: async () => [{ ...head }],
    overlayOf: async () => (onTheWay === "many" ? "many" : { head: { ...head }, registers: [], keys: [], sources: [] }),
    catchUp: async () => {
      done.push("position");
      if (refusal.now) throw refusal.now;
      return true;
    },
    dropCopy: async (_, epoch) => void done.push(`drop ${epoch}`),
    renew: async () => {
      done.push("renew");
      Object.assign(head, { version: ledgerVersion, epoch: "new" });
      return "new";
    },
    setEnd: async () => undefined,
  };
  const ledger = { versionOf: async () => ({ version, stamps: [], stored: [] }) };
  return { head, done, refusal, shards: new Shards({ hot: hot as HotStore, ledger, end: async () => 20 }) };
}

test("a large copy at the ledger's version takes its position", async () => {
  const { done, shards } = world(3, 3);
  await shards.repair(SHARD);
  expect(done).toEqual(["position"]);
});

test("one that the projector brings on is left to it", async () => {
  const { head, done, shards } = world(3, 9);
  const repaired = shards.repair(SHARD);
  await Bun.sleep(500);
  head.version = 4;
  await repaired;
  expect(done).toEqual([]);
});

test("one that stands still is begun anew", async () => {
  const { done, shards } = world(3, 9);
  await shards.repair(SHARD);
  expect(done).toEqual(["drop old", "renew"]);
});

for (const onTheWay of ["many", "nothing"] as const) {
  test(`one that knows more than the ledger, with ${onTheWay} on its way, is begun anew`, async () => {
    const { done, shards } = world(9, 3, onTheWay);
    await shards.repair(SHARD);
    expect(done).toEqual(["drop old", "renew"]);
  });
}

test("one that Redis refuses to mend is left for a while", async () => {
  const { done, refusal, shards } = world(3, 9, "nothing");
  refusal.now = new HotStoreRefuses("full");
  await expect(shards.repair(SHARD)).rejects.toThrow("full");
  await expect(shards.repair(SHARD)).rejects.toThrow("full");
  expect(done).toEqual(["position"]);
  refusal.now = null;
  await Bun.sleep(1_000);
  await shards.repair(SHARD);
  expect(done).toEqual(["position", "position"]);
});
