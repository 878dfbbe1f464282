import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { ChangeWriter } from "../rankings/changes.ts";
import { prepareLedger } from "./open-ledger.ts";
import { SqliteSteps } from "./steps.ts";

const FRAMES = 500;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-steps-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("a beginning can be interrupted, and leaves no transaction behind", async () => {
  const path = join(folder, "ledger.db");
  prepareLedger(path);
  const steps = new SqliteSteps(path);
  const writer = new ChangeWriter();
  writer.add(1, 60, "article/1", 1);
  const [frame] = writer.finish() as [Buffer];
  const save = () =>
    steps.save(
      Array.from({ length: FRAMES }, () => ({ at: 60, frame })),
      [],
    );
  save();
  let told = 0;
  const beginning = { renamed() {}, step: () => ++told > 0, change() {}, count: () => true };
  await steps.begin(0, beginning);
  expect(told).toBe(FRAMES);
  told = 0;
  setTimeout(() => steps.interrupt(), 1);
  const slow = () => {
    Bun.sleepSync(1);
    return ++told > 0;
  };
  await expect(steps.begin(0, { ...beginning, step: slow })).rejects.toThrow(LedgerUnavailable);
  expect(told).toBeGreaterThan(0);
  expect(told).toBeLessThan(FRAMES);
  save();
  expect(steps.read(0, 120)).toHaveLength(2 * FRAMES);
  steps.close();
});
