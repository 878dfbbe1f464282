import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LEAVING } from "./layout.ts";
import { Leaving } from "./leaving.ts";
import { CounterTable } from "./table.ts";

const VIEWS = 1;
let folder: string;
let table: CounterTable;
let head = 0;
let applied = 0;
let leaving: Leaving;
let worker: CounterTable;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-leaving-"));
  table = CounterTable.create({
    path: join(folder, "counters.tally"),
    countersMax: 10,
    source: "00".repeat(8),
    nowMs: 5,
  });
  worker = CounterTable.attach(table.share(), 1);
  head = 100;
  applied = 0;
  leaving = new Leaving(table, { logHead: () => head, applied: () => applied });
});

afterEach(() => {
  table.close();
  rmSync(folder, { recursive: true });
});

function load(subject: string, count = 0): void {
  const slot = table.claim(VIEWS, subject);
  expect(slot).toBeGreaterThanOrEqual(0);
  table.install(slot, count);
}

function flush(): number {
  let sum = 0;
  table.takeDirty((slot) => {
    const amount = table.owed(slot);
    sum += amount;
    table.setNoted(slot, table.notedAfter(slot, amount));
  });
  return sum;
}

function fill(): void {
  for (let i = 0; i < 10; i++) load(`article/${i}`, i);
  expect(table.claim(VIEWS, "article/10")).toBe(-1);
}
const leavingSlots = () =>
  Array.from({ length: 10 }, (_, i) => i).filter((slot) => (table.slots.meta(slot) & LEAVING) !== 0);
const steps = (n = 20) => {
  for (let i = 0; i < n; i++) leaving.step(0);
};

test("leaving waits for the ledger, then makes room", () => {
  fill();
  steps();
  expect(leavingSlots()).toHaveLength(2);
  expect(table.claim(VIEWS, "article/10")).toBe(-1);
  head = 200;
  applied = 99;
  steps();
  expect(table.stats().counters).toBe(10);
  applied = 100;
  steps();
  expect(table.stats().counters).toBe(8);
  expect(table.wants().room).toBe(false);
  expect(table.claim(VIEWS, "article/10")).toBeGreaterThanOrEqual(0);
});

test("leaving does not begin below nine tenths", () => {
  for (let i = 0; i < 9; i++) load(`article/${i}`);
  expect(leaving.step(0)).toBe(false);
  expect(leavingSlots()).toEqual([]);
});

test("leaving passes over those that owe, and those that were looked at since the last round", () => {
  fill();
  for (let i = 0; i < 8; i++) table.add(table.find(VIEWS, `article/${i}`), 1);
  steps();
  expect(leavingSlots()).toEqual([8, 9]);
  applied = 100;
  steps();
  expect(table.find(VIEWS, "article/8")).toBe(-1);
  expect(flush()).toBe(8);
});

test("leaving is called off by whoever finds the counter", () => {
  fill();
  steps();
  const [first, second] = leavingSlots() as [number, number];
  worker.enter();
  expect(worker.find(VIEWS, `article/${first}`)).toBe(first);
  applied = 100;
  steps();
  expect(worker.add(first, 5)).toBe(first + 5);
  worker.leave();
  expect(table.find(VIEWS, `article/${second}`)).toBe(-1);
  expect(table.find(VIEWS, `article/${first}`)).toBe(first);
});

test("leaving waits for every thread that is inside, before it looks and before it gives slots away", () => {
  fill();
  worker.enter();
  const held = worker.find(VIEWS, "article/0");
  steps();
  applied = 100;
  steps(100);
  expect(worker.add(held, 5)).toBe(5);
  worker.leave();
  expect(leaving.step(0)).toBe(true);
  const [other] = leavingSlots() as [number];
  expect(other).not.toBe(held);
  worker.enter();
  steps(100);
  expect(table.stats().counters).toBe(10);
  worker.leave();
  steps();
  expect(table.stats().counters).toBe(9);
  expect(flush()).toBe(5);
});

test("leaving does not wait for a thread that is gone", () => {
  fill();
  worker.enter();
  steps();
  applied = 100;
  steps();
  expect(table.stats().counters).toBe(10);
  table.threadGone(1);
  steps();
  expect(table.stats().counters).toBe(8);
});

test("leaving rests for a while when nothing may leave", () => {
  fill();
  for (let i = 0; i < 10; i++) table.add(table.find(VIEWS, `article/${i}`), 1);
  let soon = true;
  for (let i = 0; soon && i < 10; i++) soon = leaving.step(0);
  expect(soon).toBe(false);
  expect(leaving.step(10)).toBe(false);
  expect(table.stats().counters).toBe(10);
  flush();
  applied = 100;
  for (let i = 0; i < 10; i++) leaving.step(100);
  expect(table.stats().counters).toBe(8);
});
