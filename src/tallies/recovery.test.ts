import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartError } from "../errors.ts";
import { murmur3 } from "../lib/hash.ts";
import { ADDS, ALLOCATED_WORD, HEADER_BYTES, LINK, META, metaOf, NOTED, SLOT_BYTES, TALLY_WORDS } from "./layout.ts";
import { readTableHeader, recoverTable } from "./recovery.ts";
import { wordOf } from "./slots.ts";
import { CounterTable } from "./table.ts";

const VIEWS = 1;
const SOURCE = "0123456789abcdef";
const NO_MARKS: ReadonlyMap<number, number> = new Map();
let folder: string;
let path: string;
let table: CounterTable;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-recovery-"));
  path = join(folder, "counters.tally");
  table = CounterTable.create({ path, countersMax: 1000, source: SOURCE, nowMs: 5 });
});
afterEach(() => {
  table.close();
  rmSync(folder, { recursive: true });
});

function add(subject: string, by: number): number {
  const slot = table.claim(VIEWS, subject);
  table.install(slot, 1_000);
  table.add(slot, by);
  return slot;
}

function note(slot: number): number {
  const after = table.notedAfter(slot, table.owed(slot));
  table.setNoted(slot, after);
  return after;
}

/** Writes a word of a slot as nothing in the program would. */
function spoil(slot: number, word: number, value: number): void {
  table.slots.words[wordOf(slot) + word] = value;
}

function spoilTally(slot: number, word: number, value: number): void {
  table.slots.tallies[slot * TALLY_WORDS + word] = value;
}

function patch(at: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

const words = (...values: number[]) => new Uint8Array(Int32Array.from(values).buffer);
const refused = (pattern: RegExp) => {
  const before = Bun.hash(readFileSync(path));
  expect(() => recoverTable(path, NO_MARKS)).toThrow(StartError);
  expect(() => recoverTable(path, NO_MARKS)).toThrow(pattern);
  expect(() => recoverTable(path, NO_MARKS)).toThrow(/Put the right file back, or move this one away/);
  expect(Bun.hash(readFileSync(path))).toBe(before);
};

describe("after a kill", () => {
  test("what was added and not noted is owed, under the whole key", () => {
    const long = `article/${"é".repeat(64)}`;
    const a = add("article/1", 5);
    const b = add(long, 7);
    const c = add("article/noted", 9);
    note(c);
    const at44 = add(`article/${"u".repeat(36)}`, 1);
    const at45 = add(`article/${"u".repeat(37)}`, 2);
    const longest = add(`${"t".repeat(32)}/${"z".repeat(128)}`, 3);
    const { header, trusted, owed } = recoverTable(path, NO_MARKS);
    expect(header).toMatchObject({ source: SOURCE, countersMax: 1000, createdMs: 5, clean: false, notedPosition: 0 });
    expect(trusted).toBe(true);
    expect(owed).toEqual([
      { slot: a, metric: VIEWS, subject: "article/1", amount: 5, notedAfter: 5 },
      { slot: b, metric: VIEWS, subject: long, amount: 7, notedAfter: 7 },
      { slot: at44, metric: VIEWS, subject: `article/${"u".repeat(36)}`, amount: 1, notedAfter: 1 },
      { slot: at45, metric: VIEWS, subject: `article/${"u".repeat(37)}`, amount: 2, notedAfter: 2 },
      { slot: longest, metric: VIEWS, subject: `${"t".repeat(32)}/${"z".repeat(128)}`, amount: 3, notedAfter: 3 },
    ]);
  });

  test("a mark in the log counts where the file does not know it yet, and the file's where it is the later one", () => {
    const a = add("article/1", 5);
    const b = add("article/2", 5);
    const c = add("article/3", 5);
    note(c);
    add("article/3", 2);
    const marks = new Map([
      [a, 5],
      [b, 3],
      [c, 4],
    ]);
    expect(recoverTable(path, marks).owed.map(({ slot, amount }) => [slot, amount])).toEqual([
      [b, 2],
      [c, 2],
    ]);
  });

  test("marks go round at 2^32 with the words", () => {
    const slot = add("article/1", 5);
    spoilTally(slot, ADDS, 3);
    spoilTally(slot, NOTED, -10);
    const of = (marks: ReadonlyMap<number, number>) => recoverTable(path, marks).owed[0];
    expect(of(NO_MARKS)).toMatchObject({ amount: 13, notedAfter: 3 });
    expect(of(new Map([[slot, 2 ** 32 - 4]]))).toMatchObject({ amount: 7, notedAfter: 3 });
    expect(of(new Map([[slot, 1]]))).toMatchObject({ amount: 2, notedAfter: 3 });
    expect(of(new Map([[slot, 3]]))).toBeUndefined();
  });

  test("in the middle of a claim: what is not live yet is nobody's", () => {
    const slot = add("article/1", 5);
    spoil(slot, META, table.slots.meta(slot) & ~1);
    expect(recoverTable(path, NO_MARKS).owed).toEqual([]);
  });

  test("before anything was counted: nothing is owed", () => {
    expect(recoverTable(path, NO_MARKS)).toMatchObject({ trusted: true, owed: [] });
  });

  test("before any space was taken: nothing is owed", () => {
    patch(4 * ALLOCATED_WORD, words(0));
    expect(recoverTable(path, NO_MARKS).owed).toEqual([]);
  });

  test("the new run's file takes the old one's place whole, and knows how far the flusher was", () => {
    add("article/1", 5);
    const next = CounterTable.create({ path, countersMax: 2000, source: "fedcba9876543210", nowMs: 6 });
    next.notedPosition = 2 ** 40 + 1;
    next.flushedAtMs = 77;
    expect(recoverTable(path, NO_MARKS)).toMatchObject({
      header: { source: "fedcba9876543210", countersMax: 2000, notedPosition: 2 ** 40 + 1, flushedAtMs: 77 },
      owed: [],
    });
    next.closeClean();
    expect(readTableHeader(path).clean).toBe(true);
  });
});

describe("after a power cut", () => {
  test("only the log counts, whatever the pages hold", () => {
    add("article/1", 5);
    const old = join(folder, "old");
    copyFileSync(path, old);
    add("article/1", 5);
    add("article/2", 7);
    // The header reached the disk, some slots are as they were a moment ago, others never were written.
    const pages = readFileSync(old);
    pages.fill(0xa5, HEADER_BYTES + SLOT_BYTES, HEADER_BYTES + 5 * SLOT_BYTES);
    patch(HEADER_BYTES, pages.subarray(HEADER_BYTES));
    expect(recoverTable(path, NO_MARKS, "another boot")).toMatchObject({ trusted: false, owed: [] });
  });

  test("after a clean stop nothing is missing", () => {
    note(add("article/1", 5));
    table.closeClean();
    expect(recoverTable(path, NO_MARKS, "another boot")).toMatchObject({ trusted: true, owed: [] });
    table = CounterTable.create({ path, countersMax: 10, source: SOURCE, nowMs: 5 });
  });
});

describe("refused, and left as it is:", () => {
  const header = (at: number, bytes: Uint8Array, seal = true) => {
    patch(at, bytes);
    if (seal) patch(80, words(murmur3(readFileSync(path).subarray(0, 80), 0, 80, 0)));
  };

  test("a file that is shorter than it says", () => {
    truncateSync(path, statSync(path).size - 1);
    refused(/is truncated: \d+ bytes of \d+/);
    truncateSync(path, 100);
    refused(/is truncated: 100 bytes/);
    truncateSync(path, 0);
    refused(/is truncated: 0 bytes/);
  });

  test("a file that is longer", () => {
    truncateSync(path, statSync(path).size + 64);
    refused(/is too long/);
  });

  test("a foreign file", () => {
    writeFileSync(path, "SQLite format 3\0".repeat(1000));
    refused(/is not a counter file/);
  });

  test("another layout, older or newer", () => {
    for (const version of [0, 1, 3]) {
      header(8, words(version));
      refused(new RegExp(`has layout ${version}, and this version of Tally reads layout 2`));
    }
  });

  test("a header that does not fit its checksum, or makes no sense with it", () => {
    header(24, words(1), false);
    refused(/damaged header \(checksum\)/);
    header(20, words(0));
    refused(/claims 0 slots/);
    header(20, words(5000));
    refused(/is truncated/);
    header(20, words(3024));
    header(12, words(32));
    refused(/slots of 32 bytes/);
  });

  test("more slots in use than there are", () => {
    patch(4 * ALLOCATED_WORD, words(1e6));
    refused(/is damaged: it claims 1000000 slots in use of 3024/);
  });

  test("slots that cannot be", () => {
    const slot = add("article/1", 5);
    const meta = table.slots.meta(slot);
    spoil(slot, META, metaOf(0, 9));
    refused(/slot 0 has a key that cannot be/);
    spoil(slot, META, metaOf(VIEWS, 162));
    refused(/slot 0 has a key that cannot be/);
    spoil(slot, META, metaOf(VIEWS, 3));
    refused(/slot 0 has a key that is no subject/);
    spoil(slot, META, meta);
    spoilTally(slot, NOTED, 6);
    refused(/slot 0 has noted more than was added/);
  });

  test("a long key whose rest is not there", () => {
    const slot = add(`article/${"x".repeat(100)}`, 5);
    for (const link of [-1, 1e6]) {
      spoil(slot, LINK, link);
      refused(/goes on outside the file/);
    }
  });

  test("a folder in its place", () => {
    expect(() => recoverTable(folder, NO_MARKS)).toThrow();
  });
});

test("a million counters are looked through in less than 150 ms", () => {
  const big = join(folder, "big.tally");
  const full = CounterTable.create({ path: big, countersMax: 1_000_000, source: SOURCE, nowMs: 5 });
  for (let i = 0; i < 1_000_000; i++) {
    let slot = full.claim(VIEWS, `article/${i}`);
    while (slot < 0) {
      full.provision();
      slot = full.claim(VIEWS, `article/${i}`);
    }
    full.install(slot, 0);
    if (i % 100 === 0) full.add(slot, 1);
  }
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const began = performance.now();
    expect(recoverTable(big, NO_MARKS).owed).toHaveLength(10_000);
    times.push(performance.now() - began);
  }
  full.close();
  console.log(`a million counters: ${times.map((ms) => ms.toFixed(0)).join(" ")} ms`);
  expect(Math.min(...times)).toBeLessThan(150);
});
