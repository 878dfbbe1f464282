import { expect, test } from "bun:test";
import { isKeyReused } from "../errors.ts";
import type { HotStore, KeyedAnswer } from "../ports/hot-store.ts";
import type { SharedLedger } from "./ledger.ts";
import type { Shards } from "./shards.ts";
import { SharedKeys } from "./shared-keys.ts";

const SHARD = 7;
const PUT = { metric: 1, subject: "article/1", source: "r", n: 1, amount: 5, key: "k", body: "mine", version: 3 };

/** What becomes of a put that Redis answers so, where the ledger has the key with that body. */
async function put(answer: KeyedAnswer, body: string): Promise<unknown> {
  const hot: Partial<HotStore> = { putKeyed: async () => answer };
  const ledger: Partial<SharedLedger> = { keyHint: async () => ({ known: { body, atMs: 1 }, version: 4 }) };
  const shards: Pick<Shards, "repair"> = { repair: async () => undefined };
  const keys = new SharedKeys({ hot: hot as HotStore, ledger: ledger as SharedLedger, shards: shards as Shards });
  return keys.put(SHARD, { ...PUT }).catch((error) => (isKeyReused(error) ? "key-reused" : error));
}

for (const status of ["behind", "decided"] as const) {
  test(`an act that came into the log behind another one of its key is refused where the copy is ${status}`, async () => {
    expect(await put({ status }, "another")).toBe("key-reused");
    expect(await put({ status }, "mine")).toEqual({ count: null });
  });
}
