import { expect, test } from "bun:test";
import type { CountName, HotStore, ShardHead } from "../ports/hot-store.ts";
import { Freshness } from "./freshness.ts";
import type { SharedLedger } from "./ledger.ts";
import { LoadLocks } from "./load-locks.ts";
import { Looks } from "./looks.ts";
import type { Shards } from "./shards.ts";

const SHARD = 7;
const VERSION = 4;
/** As many names as the ledger takes in one statement. */
const AT_ONCE = 2;

test("a count that was read behind a commit is not taken for one of before it", async () => {
  const bases = new Map<string, number>();
  const head: ShardHead = { incarnation: "i", version: VERSION, position: 1, end: 1, epoch: "e" };
  const hot: Partial<HotStore> = {
    read: async (asked) =>
      asked.map(({ counts }) => {
        const shown = counts.map(({ subject }) => bases.get(subject) ?? null);
        return { head: { ...head }, token: "t", pasts: 0, counts: shown, registers: [] };
      }),
    install: async (_, { version }, counts) => {
      if (version !== head.version) return "behind";
      for (const [, subject, count] of counts) bases.set(subject, count);
      return "ok";
    },
  };
  const ledger: Partial<SharedLedger> = {
    bases: async (names) =>
      names.map((_, i) => {
        const isLater = i >= AT_ONCE && head.version === VERSION;
        return { count: isLater ? 13 : 12, incarnation: "i", version: isLater ? VERSION + 1 : head.version };
      }),
  };
  let repairs = 0;
  const shards: Pick<Shards, "repair"> = {
    repair: async () => {
      repairs++;
      expect(Math.max(...bases.values())).toBe(12);
      // The projector has told it of the commit.
      head.version = VERSION + 1;
    },
  };
  const looks = new Looks({
    hot: hot as HotStore,
    ledger: ledger as SharedLedger,
    shards: shards as Shards,
    locks: new LoadLocks(LoadLocks.allocate()),
    freshness: new Freshness(Freshness.allocate(1)),
  });
  const names: CountName[] = Array.from({ length: 2 * AT_ONCE }, (_, i) => ({ metric: 1, subject: `article/${i}` }));
  await Promise.all(names.map((name) => looks.look({ shard: SHARD, counts: [name], registers: [] })));
  expect(repairs).toBe(1);
});
