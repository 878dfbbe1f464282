import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { random } from "../../test/support/random.ts";
import { COUNT_MAX } from "../model.ts";
import { ADDS, NOTED, TALLY_WORDS } from "./layout.ts";
import { Leaving } from "./leaving.ts";
import { CounterTable, OWING_TOO_MUCH, TOO_HIGH } from "./table.ts";
import { PRESSURE } from "./threads.ts";

const VIEWS = 1;
const LIKES = 3;
let folder: string;
let table: CounterTable;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-table-"));
  table = create();
});
afterEach(() => {
  table.close();
  rmSync(folder, { recursive: true });
});

function create(countersMax = 1000): CounterTable {
  return CounterTable.create({
    path: join(folder, "counters.tally"),
    countersMax,
    source: "0123456789abcdef",
    nowMs: 5,
  });
}

function loaded(subject: string, count = 0, metric = VIEWS): number {
  const slot = table.claim(metric, subject);
  expect(slot).toBeGreaterThanOrEqual(0);
  table.install(slot, count);
  return slot;
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

/** The same numbers, and whoever reads one calls `look` first. */
function looked(array: Int32Array, look: () => void): Int32Array {
  return new Proxy(array, {
    get(target, at) {
      look();
      return target[Number(at)];
    },
  });
}

/** As if the counter had been added to so often before: both words stand just below `at`. */
function wind(slot: number, at: number): void {
  const { tallies } = table.slots;
  tallies[slot * TALLY_WORDS + ADDS] = at | 0;
  tallies[slot * TALLY_WORDS + NOTED] = at | 0;
}

/** A slot whose next owner finds ADDS at `at`. */
function woundSlot(subject: string, at: number): number {
  const slot = loaded("tmp/1");
  wind(slot, at);
  leaveAll();
  expect(table.claim(VIEWS, subject)).toBe(slot);
  return slot;
}

/** Lets everything go that may. */
function leaveAll(): void {
  const leaving = new Leaving(table, { logHead: () => 1, applied: () => 1 });
  for (let now = 0; table.stats().counters > 0 && now < 1e6; now += 60) {
    Atomics.store(table.control, PRESSURE, 1);
    leaving.step(now);
  }
}

describe("a counter", () => {
  test("is found under its metric and subject and no other", () => {
    const slot = loaded("article/1");
    expect(table.find(VIEWS, "article/1")).toBe(slot);
    expect(table.claim(VIEWS, "article/1")).toBe(slot);
    for (const other of ["article/12", "article/", "article/2", "Article/1", "article/1 ", "article/1\0"]) {
      expect(table.find(VIEWS, other)).toBe(-1);
    }
    expect(table.find(LIKES, "article/1")).toBe(-1);
    expect(table.key(slot)).toEqual({ metric: VIEWS, subject: "article/1" });
  });

  test("is loaded once: the first base holds", () => {
    const slot = table.claim(VIEWS, "article/1");
    expect(table.isLoaded(slot)).toBe(false);
    expect(table.install(slot, 7)).toBe(true);
    expect(table.install(slot, 9)).toBe(false);
    expect(table.isLoaded(slot)).toBe(true);
    expect(table.shown(slot)).toBe(7);
    expect(table.add(slot, 3)).toBe(10);
    expect(table.shown(slot)).toBe(10);
    expect(flush()).toBe(3);
    expect(flush()).toBe(0);
    expect(table.shown(slot)).toBe(10);
  });

  test("may be called anything: bytes decide", () => {
    const tail = "x".repeat(128);
    const ids = [
      "é",
      "e\u0301",
      "👩‍👩‍👧",
      "__proto__",
      'a"b',
      " ",
      "日本".repeat(21),
      tail,
      `${tail.slice(1)}y`,
      "a".repeat(36),
    ];
    for (let n = 30; n <= 128; n++) ids.push("k".repeat(n), `${"k".repeat(n - 2)}é`);
    const subjects = ids.flatMap((id) => [`article/${id}`, `a/${id}`, `${"t".repeat(32)}/${id}`]);
    const slots = subjects.map((subject, i) => loaded(subject, i));
    expect(new Set(slots).size).toBe(subjects.length);
    for (const [i, subject] of subjects.entries()) {
      const slot = table.find(VIEWS, subject);
      expect(slot).toBe(slots[i] as number);
      expect(table.key(slot).subject).toBe(subject);
      expect(table.shown(slot)).toBe(i);
    }
  });

  test("refuses what can only be a bug", () => {
    expect(() => table.claim(VIEWS, "x".repeat(162))).toThrow();
    expect(() => table.claim(VIEWS, "é".repeat(100))).toThrow();
    expect(() => table.addToBase(table.claim(VIEWS, "article/1"), 1)).toThrow();
  });

  test("of a relation is what the writer says, below 2^32 and above", () => {
    const slot = loaded("article/1", 2 ** 32 - 1, LIKES);
    for (const count of [2 ** 32, 5, 0, COUNT_MAX, 2 ** 40 + 3]) {
      table.setBase(slot, count);
      expect(table.shown(slot)).toBe(count);
    }
    expect(table.addToBase(slot, -4)).toBe(2 ** 40 - 1);
    expect(table.shown(slot)).toBe(2 ** 40 - 1);
    expect(flush()).toBe(0);
  });

  test("that nobody loaded is not flushed, and not forgotten", () => {
    const slot = table.claim(VIEWS, "article/1");
    table.slots.add(slot, 5);
    table.markDirty(slot);
    expect(flush()).toBe(0);
    table.install(slot, 0);
    expect(flush()).toBe(5);
  });
});

describe("numbers", () => {
  test("go beyond 2^32 in adds without a step, for any base and any start", () => {
    for (const start of [0, 2 ** 30 - 1, 2 ** 31 - 1, 2 ** 32 - 5]) {
      for (const base of [0, 1, 2 ** 32 - 1, 2 ** 45 + 1]) {
        const slot = woundSlot("article/1", start);
        table.install(slot, base);
        let count = base;
        expect(table.shown(slot)).toBe(count);
        for (let round = 0; round < 40; round++) {
          for (let i = 0; i < 300; i++) {
            count += 1_000_000;
            if (table.add(slot, 1_000_000) !== count) expect(table.shown(slot)).toBe(count);
          }
          expect(flush()).toBe(300_000_000);
          expect(table.shown(slot)).toBe(count);
        }
        leaveAll();
      }
    }
  });

  test("are refused before the word could go round unnoted, and taken again after a flush", () => {
    const slot = loaded("article/1", 10);
    let added = 0;
    while (table.add(slot, 1_000_000) >= 0) added += 1_000_000;
    expect(added).toBeGreaterThan(2 ** 30);
    expect(added).toBeLessThan(2 ** 31 - 64_000_000);
    expect(table.add(slot, 1)).toBe(OWING_TOO_MUCH);
    expect(table.shown(slot)).toBe(10 + added);
    expect(flush()).toBe(added);
    expect(table.add(slot, 1)).toBe(11 + added);
  });

  test.each([0, 5, 2 ** 32 - 3])(
    "are added whole, though all is flushed between any two looks of an add (%d)",
    (base) => {
      const worker = CounterTable.attach(table.share(), 1);
      const { load, add } = Atomics;
      const slot = loaded("article/1", base);
      let look = () => {};
      const { words, tallies } = worker.slots;
      const arrays = new Map([words, tallies].map((array) => [looked(array, () => look()), array]));
      const [lookedWords, lookedTallies] = [...arrays.keys()];
      Object.assign(worker.slots, { words: lookedWords, tallies: lookedTallies });
      let expected = base;
      let steps = 0;
      for (let isOver = false; !isOver; steps++) {
        let left = steps;
        const before = expected;
        look = () => {
          if (left-- !== 0) return;
          look = () => {};
          // As often as it takes to move the base, too.
          for (let i = 0; i < 1_100; i++) {
            table.add(slot, 1_000_000);
            if (i % 100 === 0) flush();
          }
          flush();
          expected += 1_100 * 1_000_000;
        };
        Atomics.load = ((array: Int32Array, at: number) => {
          look();
          return load(arrays.get(array) ?? array, at);
        }) as typeof load;
        Atomics.add = ((array: Int32Array, at: number, by: number) => {
          look();
          return add(arrays.get(array) ?? array, at, by);
        }) as typeof add;
        worker.enter();
        const count = worker.add(slot, 2);
        worker.leave();
        isOver = left >= 0;
        Object.assign(Atomics, { load, add });
        expected += 2;
        // It is one instant: before all the others or after them.
        expect(`step ${steps}: ${count === before + 2 ? expected : count}`).toBe(`step ${steps}: ${expected}`);
      }
      expect(steps).toBeGreaterThan(8);
      expect(table.shown(slot)).toBe(expected);
    },
  );

  test("end at 2^53 - 1", () => {
    const slot = loaded("article/1", COUNT_MAX - 2);
    expect(table.add(slot, 3)).toBe(TOO_HIGH);
    expect(table.add(slot, 2)).toBe(COUNT_MAX);
    expect(table.add(slot, 1)).toBe(TOO_HIGH);
    expect(flush()).toBe(2);
  });

  test("of the slot's next owner begin at its own base, while ADDS and NOTED go on", () => {
    const slot = loaded("article/1", 100);
    table.add(slot, 2 ** 20);
    flush();
    leaveAll();
    expect(loaded("article/2", 7)).toBe(slot);
    expect(table.shown(slot)).toBe(7);
    expect(table.slots.noted(slot)).toBe(2 ** 20);
    expect(table.add(slot, 1)).toBe(8);
    expect(table.notedAfter(slot, table.owed(slot))).toBe(2 ** 20 + 1);
  });
});

describe("room", () => {
  test("is for countersMax, long keys or short; then claims are refused until some left", () => {
    table.close();
    table = create(100);
    for (let i = 0; i < 100; i++) loaded(`article/${i}`.padEnd(160, "x"));
    expect(table.claim(VIEWS, "article/new")).toBe(-1);
    expect(table.wants().room).toBe(true);
    expect(table.find(VIEWS, `article/${50}`.padEnd(160, "x"))).toBeGreaterThanOrEqual(0);
    const before = table.stats();
    leaveAll();
    expect(table.stats()).toMatchObject({ counters: 0, slotsUsed: 0 });
    for (let i = 0; i < 100; i++) loaded(`article/${i}`.padEnd(160, "y"));
    expect(table.stats()).toEqual(before);
  });

  test("on the disk is taken ahead of the claimers", () => {
    table.close();
    table = create(300_000);
    const ahead = table.stats().bytes;
    expect(ahead).toBeGreaterThanOrEqual(4 * 2 ** 20);
    let claimed = 0;
    while (table.claim(VIEWS, `article/${claimed}`) >= 0) claimed++;
    expect(claimed * 64).toBe(ahead);
    expect(table.wants()).toEqual({ space: true, room: false });
    while (table.provision());
    expect(table.wants().space).toBe(false);
    expect(table.claim(VIEWS, `article/${claimed}`)).toBeGreaterThanOrEqual(0);
  });
});

test("a thread that died while it loaded leaves the slot to the next", () => {
  const worker = CounterTable.attach(table.share(), 1);
  const slot = worker.claim(VIEWS, "article/1");
  // What install() of a thread looks like that was stopped between its steps.
  (worker.slots as unknown as { own(slot: number): number }).own(slot);
  table.threadGone(1);
  expect(table.install(slot, 4)).toBe(true);
  expect(table.shown(slot)).toBe(4);
});

test("a thread that died between its add and the dirty bit leaves an add that the next look at every slot finds", () => {
  const worker = CounterTable.attach(table.share(), 1);
  const slot = loaded("article/1");
  expect(worker.slots.add(slot, 3)).toBe(3);
  expect(flush()).toBe(0);
  table.markAllDirty();
  expect(flush()).toBe(3);
});

test("random acts of two threads agree with a map", () => {
  const rng = random(3);
  const worker = CounterTable.attach(table.share(), 1);
  const truth = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const subject = `t/${rng.below(700)}`.padEnd(rng.pick([1, 44, 45, 100, 150]), "é");
    if (Buffer.byteLength(subject) > 130) continue;
    const actor = rng.chance(0.5) ? table : worker;
    actor.enter();
    let slot = actor.find(VIEWS, subject);
    expect(slot >= 0).toBe(truth.has(subject));
    if (slot < 0 && truth.size < 900) {
      slot = actor.claim(VIEWS, subject);
      actor.install(slot, 0);
      truth.set(subject, 0);
    }
    if (slot >= 0) {
      const by = 1 + rng.below(1_000_000);
      truth.set(subject, (truth.get(subject) as number) + by);
      expect(actor.add(slot, by)).toBe(truth.get(subject) as number);
    }
    actor.leave();
    if (rng.chance(0.001)) flush();
  }
});
