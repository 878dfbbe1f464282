import { parentPort, workerData } from "node:worker_threads";
import { CounterTable, OWING_TOO_MUCH, type TableShare } from "../../src/tallies/table.ts";
import { random } from "../support/random.ts";
import {
  HEAVY_KEYS,
  INTENT,
  KEYS,
  keyPicker,
  metricOf,
  STOP,
  SUBJECTS,
  TALLY_KEYS,
  type World,
  WorldView,
} from "./table-attack-world.ts";

export interface AttackData {
  share: TableShare;
  world: World;
  thread: number;
  seed: number;
  writes: boolean;
}

export interface AttackReport {
  thread: number;
  acts: number;
  adds: number;
  noRoom: number;
  refused: number;
  problems: string[];
}

const data = workerData as AttackData;
const table = CounterTable.attach(data.share, data.thread);
const world = new WorldView(data.world);
const rng = random(data.seed);
const pick = keyPicker(data.seed + 1);
const seen = new Float64Array(KEYS);
const pause = new Int32Array(new SharedArrayBuffer(4));
const report: AttackReport = { thread: data.thread, acts: 0, adds: 0, noRoom: 0, refused: 0, problems: [] };
const intent = INTENT + 2 * data.thread;

function problem(text: string): void {
  if (report.problems.length < 10) report.problems.push(`thread ${data.thread}: ${text}`);
}

/** Makes races likely: now and then a thread stands still between two steps. */
function dawdle(): void {
  if (rng.chance(0.002)) Atomics.wait(pause, 0, 0, 1 + rng.below(8));
  else for (let i = rng.chance(0.1) ? rng.below(2_000) : 0; i > 0; i--) Atomics.load(pause, 0);
}

function saw(key: number, count: number): void {
  if (count < (seen[key] as number)) problem(`key ${key} fell from ${seen[key]} to ${count}`);
  seen[key] = count;
}

/** The counter's slot, loaded; -1 for no room. Inside the brackets. */
function slotOf(key: number): number {
  const metric = metricOf(key);
  const subject = SUBJECTS[key] as string;
  const slot = table.claim(metric, subject);
  if (slot >= 0 && !table.isLoaded(slot)) {
    dawdle();
    const count = world.inLedger(key);
    dawdle();
    table.install(slot, count);
  }
  return slot;
}

interface PendingLoad {
  key: number;
  count: number;
  departures: number;
  dueMs: number;
}
const pending: PendingLoad[] = [];

/** The same for one who asks the ledger outside the brackets and gets its answer much later. */
function askOutside(key: number): void {
  table.enter();
  const slot = table.claim(metricOf(key), SUBJECTS[key] as string);
  const wanted = slot >= 0 && !table.isLoaded(slot);
  const departures = table.departures();
  table.leave();
  if (wanted) {
    pending.push({ key, count: world.inLedger(key), departures, dueMs: performance.now() + rng.below(500) });
  }
}

function takeAnswers(): void {
  const nowMs = performance.now();
  for (let i = pending.length - 1; i >= 0; i--) {
    const { key, count, departures, dueMs } = pending[i] as PendingLoad;
    if (dueMs > nowMs) continue;
    pending.splice(i, 1);
    table.enter();
    const slot = table.claim(metricOf(key), SUBJECTS[key] as string);
    if (slot >= 0 && !table.isLoaded(slot) && table.departures() === departures) table.install(slot, count);
    table.leave();
  }
}

function byFor(key: number): number {
  return key < HEAVY_KEYS ? 1_000_000 : 1 + rng.below(3);
}

function add(key: number): void {
  table.enter();
  const slot = slotOf(key);
  if (slot >= 0) {
    const by = byFor(key);
    dawdle();
    Atomics.store(world.control, intent + 1, by);
    Atomics.store(world.control, intent, key + 1);
    const count = table.add(slot, by);
    if (count >= 0) {
      world.addTruth(key, by);
      Atomics.store(world.control, intent, 0);
      report.adds++;
      saw(key, count);
    } else {
      Atomics.store(world.control, intent, 0);
      if (count !== OWING_TOO_MUCH || key >= HEAVY_KEYS) problem(`key ${key} was refused: ${count}`);
      report.refused++;
    }
  }
  table.leave();
  if (slot < 0) noRoom();
}

function read(key: number): void {
  table.enter();
  const slot = table.find(metricOf(key), SUBJECTS[key] as string);
  dawdle();
  if (slot < 0) {
    const count = world.inLedger(key);
    if (key < TALLY_KEYS) saw(key, count);
  } else if (table.isLoaded(slot)) {
    const count = table.shown(slot);
    if (key < TALLY_KEYS) saw(key, count);
  }
  table.leave();
}

/** Only the writer changes relations, so it knows exactly what each must show. */
function relate(key: number): void {
  table.enter();
  const slot = slotOf(key);
  if (slot >= 0) {
    const before = world.inTruth(key);
    if (table.shown(slot) !== before) problem(`relation ${key} shows ${table.shown(slot)}, not ${before}`);
    const delta = before > 0 && rng.chance(0.4) ? -1 : 1 + rng.below(2);
    dawdle();
    if (world.append(key, delta)) {
      world.addTruth(key, delta);
      dawdle();
      if (rng.chance(0.5)) table.setBase(slot, before + delta);
      else table.addToBase(slot, delta);
    }
  }
  table.leave();
  if (slot < 0) noRoom();
}

/** An increment that comes from elsewhere than a note, to a counter that others add to and the flusher rebases. */
function addElsewhere(key: number): void {
  const by = byFor(key);
  table.enter();
  const slot = slotOf(key);
  if (slot >= 0 && world.append(key, by)) {
    dawdle();
    world.addTruth(key, by);
    saw(key, table.addToBase(slot, by));
  }
  table.leave();
}

/** The same key on every thread for a tenth of a millisecond, then another. */
function herdKey(): number {
  const tick = Math.floor((performance.timeOrigin + performance.now()) * 10);
  return HEAVY_KEYS + ((Math.imul(tick, 0x9e3779b1) >>> 0) % (TALLY_KEYS - HEAVY_KEYS));
}

function noRoom(): void {
  report.noRoom++;
  Atomics.wait(pause, 0, 0, 1);
}

while (Atomics.load(world.control, STOP) === 0) {
  const now = performance.timeOrigin + performance.now();
  takeAnswers();
  // All threads that run now meet on keys that are seldom there.
  for (let i = 0; i < 10; i++) add(herdKey());
  for (let i = 0; i < 40; i++) {
    report.acts++;
    if (data.writes && rng.chance(0.7)) relate(pick(TALLY_KEYS, KEYS, now));
    else if (data.writes && rng.chance(0.5)) addElsewhere(rng.below(HEAVY_KEYS));
    else if (rng.chance(0.6)) add(pick(0, TALLY_KEYS, now));
    else if (rng.chance(0.2)) askOutside(pick(0, KEYS, now));
    else read(pick(0, KEYS, now));
  }
}
parentPort?.postMessage(report);
