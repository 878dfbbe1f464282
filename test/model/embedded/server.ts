import { countDelta, merge } from "../../../src/arithmetic/register.ts";
import { decide } from "../../../src/arithmetic/source.ts";
import { EPOCH_MS, HybridClock, timeOf } from "../../../src/arithmetic/stamp.ts";
import { clear, place } from "./overlay.ts";
import {
  bump,
  type Context,
  type Disk,
  GENERATIONS,
  type Ledger,
  type LogRecord,
  type Memory,
  mod,
  SLOTS,
  type Steps,
  type Table,
} from "./state.ts";
import { evict, flush } from "./table.ts";
import { writer } from "./writer.ts";

/** Long after the epoch: the wall clock of the model may be set back. */
export const START_MS = EPOCH_MS + 1_000_000;

export function emptyDisk(): Disk {
  const ledger = { position: 0, counts: new Map(), registers: new Map(), keys: new Set<string>(), last: new Map() };
  return { log: [], trimmed: 0, ledger, table: emptyTable("0"), runs: 0 };
}

function emptyTable(source: string): Table {
  return { source, slots: Array.from({ length: SLOTS }, () => ({ counter: "", adds: 0, noted: 0 })) };
}

/** From what survived to a server that may listen; killed at any step, it begins again. */
export function* recover(context: Context): Steps {
  const { disk, rules, random } = context;
  const source = `${++disk.runs}`;
  yield;
  yield* recoverTable(context, source);
  context.memory = emptyMemory(disk, source);
  yield;
  if (random.chance(0.3)) while (disk.ledger.position < disk.log.length) yield* project(context);
  loadTail(context);
  yield;
  if (!rules.keysFromTail) context.memory.keys = new Set(disk.ledger.keys);
}

function* recoverTable(context: Context, next: string): Steps {
  const { disk, rules } = context;
  const { table } = disk;
  const kept = disk.log.slice(disk.trimmed);
  for (const record of kept) {
    const slot =
      record.kind === "note" && record.source === notesOf(table.source) ? table.slots[record.slot] : undefined;
    if (slot === undefined || record.kind !== "note" || !rules.redo) continue;
    slot.noted = record.notedAfter;
    yield;
  }
  const source = notesOf(rules.sameSource ? table.source : next);
  let n = disk.ledger.last.get(source) ?? 0;
  for (const record of kept) if (record.source === source) n = Math.max(n, record.n);
  for (const [at, slot] of table.slots.entries()) {
    const amount = mod(slot.adds - slot.noted);
    if (amount === 0) continue;
    const { counter } = slot;
    const position = disk.log.length + 1;
    disk.log.push({ kind: "note", source, n: ++n, position, slot: at, counter, notedAfter: slot.adds, amount });
    yield;
  }
  if (!rules.freshTable)
    for (const slot of table.slots) {
      slot.adds = 0;
      yield;
      slot.noted = 0;
      yield;
    }
  disk.table = emptyTable(next);
  yield;
}

const notesOf = (run: string) => `${run}-notes`;

function emptyMemory(disk: Disk, run: string): Memory {
  const slots = disk.table.slots.map((mapped, at) => ({
    at,
    mapped,
    state: "free" as const,
    loaded: "no" as const,
    loader: "",
    base: 0,
    mark: 0,
    folded: 0,
    sequence: 0,
  }));
  return {
    slots,
    index: new Map(),
    free: [...slots],
    dirty: new Set(),
    flushing: 0,
    inside: new Map(),
    generations: Array.from({ length: GENERATIONS }, () => ({
      number: 0,
      index: new Map(),
      cells: [],
      used: 0,
      last: 0,
    })),
    current: 0,
    tail: [],
    keys: new Set(),
    bloom: new Set(),
    bloomComplete: false,
    reading: 0,
    notes: { source: notesOf(run), n: lastOf(disk, notesOf(run)) },
    safeToTrim: disk.log.length,
    writer: { source: run, n: 0 },
    acts: [],
  };
}

function lastOf(disk: Disk, source: string): number {
  let n = disk.ledger.last.get(source) ?? 0;
  for (const record of disk.log) if (record.source === source) n = Math.max(n, record.n);
  return n;
}

/** What the log holds and the ledger does not: counts to add to first readings, the overlay, the keys. */
function loadTail(context: Context): void {
  const { disk, memory } = context;
  const { ledger } = disk;
  const registers = new Map(ledger.registers);
  memory.keys = new Set(ledger.keys);
  memory.bloom = new Set(ledger.registers.keys());
  const generation = memory.generations[0];
  for (const record of disk.log.slice(ledger.position)) {
    const { position, counter } = record;
    if (record.kind !== "note" && record.key !== null) memory.keys.add(record.key);
    if (record.kind !== "relation") {
      memory.tail.push({ position, counter, delta: record.amount });
      continue;
    }
    const before = registers.get(record.register) ?? 0;
    memory.tail.push({ position, counter, delta: countDelta(before, record.stamp) });
    registers.set(record.register, merge(before, record.stamp));
    if (generation) place(generation, record);
  }
}

/** The threads of a running server. */
export function threads(context: Context): { steps: Steps; name: string }[] {
  const { disk, rules } = context;
  let newest = 0;
  if (rules.clockStartsAbove) {
    for (const stamp of disk.ledger.registers.values()) newest = Math.max(newest, stamp);
    for (const record of disk.log) if (record.kind === "relation") newest = Math.max(newest, record.stamp);
  }
  const all = [
    { name: "writer", steps: writer(context, new HybridClock(timeOf(newest))) },
    { name: "projector", steps: projector(context) },
    { name: "flusher", steps: flusher(context) },
    { name: "evicter", steps: evicter(context) },
    { name: "bloom", steps: bloom(context) },
  ];
  if (!rules.oneFlush) all.push({ name: "flusher", steps: flusher(context) });
  return all;
}

function* flusher(context: Context): Steps {
  while (true) {
    yield;
    if (context.random.chance(0.2)) yield* flush(context);
  }
}

function* evicter(context: Context): Steps {
  const { memory, random } = context;
  while (true) {
    yield;
    const held = [...memory.index.values()];
    if (held.length > 0 && (memory.free.length === 0 || random.chance(0.2))) yield* evict(context, random.pick(held));
  }
}

function* bloom(context: Context): Steps {
  for (let i = 0; i < 20; i++) yield;
  context.memory.bloomComplete = true;
}

function* projector(context: Context): Steps {
  const { disk, memory, rules } = context;
  while (true) {
    yield;
    if (disk.ledger.position < disk.log.length) yield* project(context);
    if (!rules.writerClears) yield* clear(context);
    yield;
    const upTo = rules.trimBehindNoted ? memory.safeToTrim : disk.ledger.position;
    disk.trimmed = Math.max(disk.trimmed, Math.min(disk.ledger.position, upTo));
  }
}

function* project(context: Context): Steps {
  const { disk, memory, random, rules } = context;
  const position = Math.min(disk.log.length, disk.ledger.position + 1 + random.below(4));
  const records = disk.log.slice(disk.ledger.position, position);
  memory.reading = position;
  const tellBloom = () => {
    for (const record of records) if (record.kind === "relation") memory.bloom.add(record.register);
  };
  yield;
  const next = applied(context, disk.ledger, records, position);
  if (rules.bloomBeforeCommit) tellBloom();
  yield;
  disk.ledger = next;
  yield;
  if (!rules.bloomBeforeCommit) tellBloom();
}

function applied(context: Context, ledger: Ledger, records: LogRecord[], position: number): Ledger {
  const counts = new Map(ledger.counts);
  const registers = new Map(ledger.registers);
  const keys = new Set(ledger.keys);
  const last = new Map(ledger.last);
  for (const record of records) {
    const decision = decide(last.get(record.source) ?? 0, record.n);
    if (decision === "gap") context.problem("a gap");
    if (decision !== "apply") continue;
    last.set(record.source, record.n);
    if (record.kind !== "note" && record.key !== null) keys.add(record.key);
    if (record.kind === "relation") {
      const before = registers.get(record.register) ?? 0;
      bump(counts, record.counter, countDelta(before, record.stamp));
      registers.set(record.register, merge(before, record.stamp));
    } else bump(counts, record.counter, record.amount);
  }
  return { position, counts, registers, keys, last };
}

/** Main, when a worker's thread has ended in the middle of something. */
export function* reap(context: Context, thread: string): Steps {
  const { memory, rules } = context;
  yield;
  if ((memory.inside.get(thread) ?? 0) % 2 === 1) bump(memory.inside, thread, 1);
  yield;
  for (const slot of memory.slots)
    if (rules.unclaimAfterDeath && slot.loaded === "loading" && slot.loader === thread) slot.loaded = "no";
  yield;
  if (rules.scanAfterDeath) for (const slot of memory.slots) memory.dirty.add(slot);
}
