import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TallyRow } from "../ports/archive.ts";
import { BatchBuilder } from "../projector/batch.ts";
import { type LogRecord, NO_SLOT } from "../records.ts";
import { checkLedger } from "./check.ts";
import { SqliteExport } from "./export.ts";
import { SqliteLedgerWriter } from "./ledger.ts";
import { ensureMetrics, prepareLedger, shareLedger } from "./open-ledger.ts";

const NOW_MS = Date.UTC(2026, 10, 20, 12);
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-export-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("what was counted before all hours is in an export once, also right after a merge has moved it", async () => {
  const path = join(folder, "ledger.db");
  prepareLedger(path);
  ensureMetrics(path, [{ name: "views", kind: "tally" }]);
  const writer = new SqliteLedgerWriter(path, shareLedger(path), { deltas: { segmentRows: 1, foldFrom: 1 } });
  let n = 0;
  const apply = (what: { kind: "tally"; subject: string; amount: number; atMs: number } | { kind: "merge" }) => {
    const head = { shard: 1, n: ++n, metric: 1 };
    const record: LogRecord =
      what.kind === "tally"
        ? { ...head, ...what, slot: NO_SLOT, notedAfter: 0 }
        : { ...head, kind: "merge", metric: 0, subject: "article/old", to: "article/new" };
    const builder = new BatchBuilder(writer);
    builder.add({ source: "a", records: [record] }, n);
    writer.apply(builder.finish(NOW_MS));
  };
  const view = (subject: string, amount: number, atMs: number) => apply({ kind: "tally", subject, amount, atMs });
  view("article/old", 1_000, Date.UTC(2000, 0, 1));
  view("article/new", 1, NOW_MS);
  while (writer.tidy(NOW_MS));
  apply({ kind: "merge" });

  const source = new SqliteExport(path);
  const tallies: TallyRow[] = [];
  for await (const row of source.tallies()) tallies.push(row);
  source.close();
  const steps = [
    [0, 1_000],
    [NOW_MS / 1000, 1],
  ];
  expect(tallies).toEqual([{ metric: "views", subject: "article/new", steps } as TallyRow]);
  expect([...checkLedger(path)]).toEqual([]);
  writer.close();
});
