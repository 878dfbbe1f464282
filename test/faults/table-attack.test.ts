import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { DEAD, LIVE } from "../../src/tallies/layout.ts";
import { Leaving } from "../../src/tallies/leaving.ts";
import { CounterTable } from "../../src/tallies/table.ts";
import { FRESH } from "../../src/tallies/threads.ts";
import { random } from "../support/random.ts";
import type { AttackData, AttackReport } from "./table-attack-thread.ts";
import { COUNTERS_MAX, createWorld, INTENT, KEYS, metricOf, STOP, SUBJECTS, WorldView } from "./table-attack-world.ts";
import type { NumbersData, NumbersReport } from "./table-numbers-thread.ts";

const ATTACK_MS = 5_000;
/** Thread 1 is the writer of relations. */
const THREADS = 5;
const SEEDS = [1, 2];

interface Note {
  slot: number;
  key: number;
  amount: number;
  after: number;
}

interface Head {
  position: number;
  atMs: number;
}

/** Main's part: flusher, projector and leaving, each a random bit at a time. */
class Main {
  readonly world: WorldView;
  readonly shared = createWorld();
  readonly table: CounterTable;
  readonly leaving: Leaving;
  private readonly rng;
  private readonly keys = new Map(SUBJECTS.map((subject, key) => [`${metricOf(key)} ${subject}`, key]));
  private noted: Note[] = [];
  private heads: Head[] = [];
  private lagMs = 50;

  constructor(folder: string, seed: number) {
    this.rng = random(seed);
    this.world = new WorldView(this.shared);
    const path = join(folder, "counters.tally");
    this.table = CounterTable.create({ path, countersMax: COUNTERS_MAX, source: "00".repeat(8), nowMs: 0 });
    this.leaving = new Leaving(this.table, { logHead: () => this.world.head, applied: () => this.world.applied });
  }

  turn(nowMs: number): void {
    if (this.rng.chance(0.3)) this.flush();
    if (this.rng.chance(0.7)) this.settle();
    this.apply(nowMs);
    for (let n = this.rng.below(10); n > 0; n--) this.leaving.step(nowMs);
  }

  /** The ledger is up to a tenth of a second behind. */
  private apply(nowMs: number): void {
    this.heads.push({ position: this.world.head, atMs: nowMs });
    while (this.heads.length > 0 && (this.heads[0] as Head).atMs < nowMs - this.lagMs) {
      const { position } = this.heads.shift() as Head;
      this.world.apply(position - this.world.applied);
    }
    if (this.rng.chance(0.02)) this.lagMs = this.rng.below(this.rng.pick([3, 100]));
  }

  /** Notes go into the log; their slots are told in a later turn. */
  flush(): void {
    if (this.noted.length > 0) return;
    this.table.takeDirty((slot) => {
      const amount = this.table.owed(slot);
      if (amount === 0) return;
      const key = this.keyOf(slot);
      const after = this.table.notedAfter(slot, amount);
      if (this.world.append(key, amount)) this.noted.push({ slot, key, amount, after });
      else this.table.markDirty(slot);
    });
  }

  settle(): void {
    for (const { slot, after } of this.noted) this.table.setNoted(slot, after);
    this.noted = [];
  }

  keyOf(slot: number): number {
    const { metric, subject } = this.table.key(slot);
    const key = this.keys.get(`${metric} ${subject}`);
    if (key === undefined) throw new Error(`slot ${slot} holds ${metric} ${subject}`);
    return key;
  }

  /** Everything that anybody added goes into the log and from there into the ledger. */
  drain(): void {
    for (let round = 0; round < 3; round++) {
      this.settle();
      this.flush();
      this.settle();
      this.world.apply(Number.MAX_SAFE_INTEGER);
    }
    // Until those that are dead are also gone.
    for (let n = 0; n < 1_000; n++) this.leaving.step(0);
  }
}

function startThread(
  main: Main,
  thread: number,
  seed: number,
): { worker: Worker; report: Promise<AttackReport | null> } {
  const data: AttackData = { share: main.table.share(), world: main.shared, thread, seed, writes: thread === 1 };
  const worker = new Worker(new URL("./table-attack-thread.ts", import.meta.url), { workerData: data });
  const report = new Promise<AttackReport | null>((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", () => resolve(null));
  });
  return { worker, report };
}

/** What a killed thread was about to add, or had added without saying so: the ledger may have it or not. */
function openIntent(main: Main, thread: number): { key: number; by: number } | null {
  const at = INTENT + 2 * thread;
  const key = Atomics.exchange(main.world.control, at, 0) - 1;
  return key < 0 ? null : { key, by: Atomics.load(main.world.control, at + 1) };
}

async function attack(main: Main, seed: number) {
  const doubts: { key: number; by: number }[] = [];
  const threads = Array.from({ length: THREADS }, (_, i) => startThread(main, i + 1, 100 * seed + i));
  const begin = performance.now();
  let kills = 0;
  for (let now = 0; now < ATTACK_MS; now = performance.now() - begin) {
    main.turn(now);
    await new Promise((resolve) => setImmediate(resolve));
    if (now > (kills + 1) * 800) {
      const thread = 2 + (kills++ % (THREADS - 1));
      await threads[thread - 1]?.worker.terminate();
      main.table.threadGone(thread);
      main.table.markAllDirty();
      const doubt = openIntent(main, thread);
      if (doubt !== null) doubts.push(doubt);
      threads[thread - 1] = startThread(main, thread, 1_000 * seed + kills);
    }
  }
  Atomics.store(main.world.control, STOP, 1);
  const reports = await Promise.all(threads.map((thread) => thread.report));
  await Promise.all(threads.map((thread) => thread.worker.terminate()));
  return { kills, doubts, reports: reports.filter((report) => report !== null) };
}

function liveSlots(table: CounterTable): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < Atomics.load(table.control, FRESH); slot++) {
    if ((table.slots.meta(slot) & (LIVE | DEAD)) === LIVE) slots.push(slot);
  }
  return slots;
}

test.each(SEEDS)(
  "many threads claim, load, add, read, relate and die while counters leave: nothing is lost, doubled or falls (seed %d)",
  async (seed) => {
    const folder = mkdtempSync(join(tmpdir(), "tally-attack-"));
    const main = new Main(folder, seed);
    try {
      const { kills, doubts, reports } = await attack(main, seed);
      main.drain();
      const { table, world } = main;

      expect(reports.flatMap((report) => report.problems)).toEqual([]);
      const off = (key: number) => world.inLedger(key) - world.inTruth(key);
      const unexplained = Array.from({ length: KEYS }, (_, key) => key).filter(
        (key) => off(key) !== 0 && !doubts.some((doubt) => doubt.key === key && doubt.by === off(key)),
      );
      expect(unexplained.map((key) => `${key}: ${off(key)}`)).toEqual([]);

      const slots = liveSlots(table);
      expect(new Set(slots.map((slot) => main.keyOf(slot))).size).toBe(slots.length);
      for (const slot of slots) {
        const key = main.keyOf(slot);
        expect(table.find(metricOf(key), SUBJECTS[key] as string)).toBe(slot);
        if (table.isLoaded(slot)) expect(`${key}: ${table.shown(slot)}`).toBe(`${key}: ${world.inLedger(key)}`);
      }
      // A thread that is killed in the middle of a claim may keep one counter's place.
      expect(table.stats().counters - slots.length).toBeLessThanOrEqual(kills);
      expect(slots.length).toBeLessThanOrEqual(COUNTERS_MAX);

      const sum = (of: (report: AttackReport) => number) => reports.reduce((total, report) => total + of(report), 0);
      expect(table.departures()).toBeGreaterThan(10);
      expect(sum((report) => report.adds)).toBeGreaterThan(1_000);
      expect(sum((report) => report.noRoom)).toBeGreaterThan(0);
      console.log(
        `seed ${seed}: ${sum((r) => r.acts)} acts, ${sum((r) => r.adds)} adds, ${sum((r) => r.noRoom)} times no room, ` +
          `${sum((r) => r.refused)} refused, ${table.departures()} departures, ${kills} threads killed, ${doubts.length} in mid-add`,
      );
    } finally {
      main.table.close();
      rmSync(folder, { recursive: true });
    }
  },
  60_000,
);

/** Threads that do one thing each for three seconds, while main flushes without a pause. */
async function race(doing: readonly NumbersData["does"][]) {
  const folder = mkdtempSync(join(tmpdir(), "tally-attack-"));
  const path = join(folder, "counters.tally");
  const table = CounterTable.create({ path, countersMax: 10, source: "00".repeat(8), nowMs: 0 });
  try {
    const slots = doing.map((_, i) => table.claim(1, `article/${i}`));
    for (const slot of slots) table.install(slot, 2 ** 32 - 1);
    const stop = new SharedArrayBuffer(4);
    const threads = doing.map((does, i) => {
      const data: NumbersData = { share: table.share(), stop, thread: i + 1, does };
      const worker = new Worker(new URL("./table-numbers-thread.ts", import.meta.url), { workerData: data });
      const report = new Promise<NumbersReport>((resolve, reject) => worker.on("message", resolve).on("error", reject));
      return { worker, report };
    });
    let noted = 0;
    const flush = () =>
      table.takeDirty((slot) => {
        const amount = table.owed(slot);
        noted += amount;
        table.setNoted(slot, table.notedAfter(slot, amount));
      });
    for (const end = performance.now() + 3_000; performance.now() < end; ) {
      for (let i = 0; i < 1_000; i++) flush();
      await new Promise((resolve) => setImmediate(resolve));
    }
    Atomics.store(new Int32Array(stop), 0, 1);
    // Those that wait for a note get it.
    let waiting = true;
    void Promise.allSettled(threads.map((thread) => thread.report)).then(() => {
      waiting = false;
    });
    for (; waiting; await new Promise((resolve) => setImmediate(resolve))) flush();
    const reports = await Promise.all(threads.map((thread) => thread.report));
    await Promise.all(threads.map((thread) => thread.worker.terminate()));
    flush();
    return { reports, noted, shown: slots.map((slot) => table.shown(slot)) };
  } finally {
    table.close();
    rmSync(folder, { recursive: true });
  }
}

const sumOf = (reports: NumbersReport[], does: string) =>
  reports.reduce((total, report) => total + (report.does === does ? report.sum : 0), 0);

test("one counter, added to and moved by all while it is flushed and rebased, never falls and is exact", async () => {
  const { reports, noted, shown } = await race(["adds", "adds", "moves", "reads"]);
  expect(reports.flatMap((report) => report.problems)).toEqual([]);
  expect(noted).toBe(sumOf(reports, "adds"));
  expect(shown[0]).toBe(2 ** 32 - 1 + sumOf(reports, "adds") + sumOf(reports, "moves"));
  expect(noted).toBeGreaterThan(10 * 2 ** 30);
  console.log(`${Math.floor(noted / 2 ** 30)} rebases, ${reports.map((r) => `${r.acts} ${r.does}`).join(", ")}`);
}, 60_000);

test("every single add reaches the flusher, though nobody adds again", async () => {
  const { reports, noted } = await race(["pings", "pings"]);
  expect(reports.flatMap((report) => report.problems)).toEqual([]);
  expect(noted).toBe(sumOf(reports, "pings"));
  console.log(`${reports.map((r) => `${r.acts} ${r.does}`).join(", ")}`);
}, 60_000);
