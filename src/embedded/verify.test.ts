import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CounterTable } from "../tallies/table.ts";
import { Overlay } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";
import { TableCheck } from "./verify.ts";

const VIEWS = 1;
const SUBJECT = "article/1";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-verify-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A table with one counter, and a ledger that says less of it by what is on its way, or by what it lacks. */
function world({ lacks }: { lacks: number }) {
  const path = join(folder, "counters");
  const table = CounterTable.create({ path, countersMax: 10, source: "0123456789abcdef", nowMs: Date.now() });
  const slot = table.claim(VIEWS, SUBJECT);
  table.install(slot, 100);
  const stored = { count: 100 - lacks };
  const ledger = { count: () => stored.count, snapshot: (reads: () => number) => reads() };
  const parts = {
    table,
    overlay: new Overlay(Overlay.allocate()),
    ledger: ledger as unknown as SqliteLedgerReader,
    metrics: [{ id: VIEWS, name: "views", kind: "tally" as const }],
  };
  const check = new TableCheck({
    ...parts,
    async settle() {
      // An increment with a key comes after each flush.
      table.addToBase(slot, 1);
      stored.count = table.shown(slot) - lacks - 1;
      return true;
    },
    jobs: {
      async still(_, work) {
        stored.count = table.shown(slot) - lacks;
        work();
      },
    },
  });
  return { check, shown: () => table.shown(slot), stored };
}

test.each([false, true])("a counter that never rests is no different one (repair: %s)", async (repair) => {
  const { check, shown, stored } = world({ lacks: 0 });
  expect(await check.run(repair, () => undefined)).toEqual({ differences: 0, mended: 0, counters: 1 });
  expect(shown()).toBe(stored.count);
});

test("one that is different is told and mended, however it moves", async () => {
  const { check, shown, stored } = world({ lacks: 7 });
  const told: string[] = [];
  expect(await check.run(true, (text) => told.push(text))).toEqual({ differences: 1, mended: 1, counters: 1 });
  expect(told).toEqual([expect.stringContaining(`counter of views on ${SUBJECT}: shows`)]);
  expect(shown()).toBe(stored.count);
});
