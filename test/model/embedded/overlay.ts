import { merge } from "../../../src/arithmetic/register.ts";
import { isActive, type Stamp } from "../../../src/arithmetic/stamp.ts";
import {
  type Context,
  enter,
  GENERATION_RECORDS,
  GENERATIONS,
  type Generation,
  leave,
  type Memory,
  type Steps,
} from "./state.ts";

// ---- the writer's side

/** How many records still fit. */
export function room(memory: Memory): number {
  const { generations, current } = memory;
  const filling = generations[current];
  let left = filling ? Math.max(0, GENERATION_RECORDS - filling.used) : 0;
  for (let i = 1; i < generations.length; i++) {
    if (generations[(current + i) % generations.length]?.used !== 0) break;
    left += GENERATION_RECORDS;
  }
  return left;
}

export function* insert(
  context: Context,
  record: { counter: string; register: string; stamp: Stamp; position: number },
): Steps {
  const { memory } = context;
  let generation = memory.generations[memory.current];
  if (generation && generation.used >= GENERATION_RECORDS) {
    const next = (memory.current + 1) % GENERATIONS;
    generation = memory.generations[next];
    if (generation?.used !== 0) return;
    memory.current = next;
  }
  if (!generation) throw new Error("no generation");
  yield;
  place(generation, record);
  yield;
}

/** Cell first, then what leads to it. */
export function place(
  generation: Generation,
  record: { counter: string; register: string; stamp: Stamp; position: number },
): void {
  const at = generation.used;
  generation.cells[at] = { counter: record.counter, register: record.register, stamp: record.stamp };
  generation.last = record.position;
  generation.used = at + 1;
  const found = generation.index.get(record.register);
  if (found) found.push(at);
  else generation.index.set(record.register, [at]);
}

/** Clears the generations that the ledger has. */
export function* clear(context: Context): Steps {
  const { memory, rules, disk } = context;
  const order = memory.generations.map((_, i) => (memory.current + 1 + i) % GENERATIONS);
  if (!rules.clearOldestFirst) order.reverse();
  for (const at of order) {
    const generation = memory.generations[at];
    if (!generation || generation.used === 0) continue;
    const has = rules.clearAfterCommit ? disk.ledger.position : memory.reading;
    if (generation.last > has) {
      if (rules.clearOldestFirst) return;
      continue;
    }
    yield;
    generation.number++;
    yield;
    generation.index = new Map();
    generation.used = 0;
    yield;
    generation.number++;
    yield;
  }
}

// ---- everybody's side

function* scan(context: Context, visit: (generation: Generation) => Steps<() => void>): Steps {
  const { memory, rules } = context;
  const newest = memory.current;
  for (let i = 0; i < GENERATIONS; i++) {
    const step = rules.readNewestFirst ? GENERATIONS - i : i + 1;
    const generation = memory.generations[(newest + step) % GENERATIONS];
    yield;
    if (!generation || generation.used === 0) continue;
    const { number } = generation;
    const take = yield* visit(generation);
    yield;
    if (rules.generationNumber && (number % 2 === 1 || generation.number !== number)) continue;
    take();
  }
}

/** The register as everybody must see it: its stamp. */
export function* look(context: Context, register: string): Steps<Stamp> {
  const { memory, disk, rules } = context;
  let best = 0;
  let snapshot = disk.ledger;
  if (!rules.overlayFirst) yield;
  yield* scan(context, function* (generation) {
    const cells = generation.index.get(register) ?? [];
    const stamps: Stamp[] = [];
    for (const at of cells) {
      yield;
      stamps.push(generation.cells[at]?.stamp ?? 0);
    }
    return () => {
      for (const stamp of stamps) best = merge(best, stamp);
    };
  });
  yield;
  if (memory.bloomComplete && !memory.bloom.has(register)) return best;
  yield;
  if (rules.overlayFirst) snapshot = disk.ledger;
  yield;
  return merge(best, snapshot.registers.get(register) ?? 0);
}

/** What the overlay has of registers that `wanted` picks, by register. */
function* overlayOf(
  context: Context,
  wanted: (cell: { counter: string; register: string }) => boolean,
): Steps<Map<string, Stamp>> {
  const found = new Map<string, Stamp>();
  yield* scan(context, function* (generation) {
    const seen: [string, Stamp][] = [];
    const { used } = generation;
    for (let at = 0; at < used; at++) {
      const cell = generation.cells[at];
      if (cell && wanted(cell)) seen.push([cell.register, cell.stamp]);
      yield;
    }
    return () => {
      for (const [register, stamp] of seen) found.set(register, merge(found.get(register) ?? 0, stamp));
    };
  });
  return found;
}

export interface Item {
  register: string;
  stamp: Stamp;
}

/**
 * A page of the active registers of one counter, newest first. The ledger gives only active rows, as its index has only
 * those, so an overlay entry whose row is gone is not contradicted: the order of reading and clearing must not let a
 * register's older entry outlive its newer one.
 */
export function* list(context: Context, counter: string, before: Stamp, limit: number): Steps<Item[]> {
  const { rules, disk } = context;
  let snapshot = disk.ledger;
  if (!rules.overlayFirst) yield;
  let overlay = yield* overlayOf(context, (cell) => cell.counter === counter);
  yield;
  if (rules.overlayFirst) snapshot = disk.ledger;
  yield;
  if (!rules.cutAfterMerge) overlay = new Map([...overlay].filter(([, stamp]) => stamp < before));
  const rows = [...snapshot.registers]
    .map(([register, stamp]) => ({ register, stamp }))
    .filter((row) => isActive(row.stamp) && row.stamp < before && counterOf(row.register) === counter)
    .filter((row) => {
      const newer = overlay.get(row.register);
      if (newer === undefined || newer <= row.stamp) return true;
      return !rules.tombstonesHide && !isActive(newer);
    });
  const listed = new Map(rows.map((row) => [row.register, row]));
  for (const [register, stamp] of overlay)
    if (isActive(stamp) && stamp < before && stamp > (listed.get(register)?.stamp ?? 0))
      listed.set(register, { register, stamp });
  return [...listed.values()].sort((a, b) => b.stamp - a.stamp).slice(0, limit);
}

/** On how many counters the actor is active: the ledger's number, and what the overlay changes on the same snapshot. */
export function* actorCount(context: Context, actor: string): Steps<number> {
  const overlay = yield* overlayOf(context, (cell) => actorOf(cell.register) === actor);
  yield;
  const snapshot = context.disk.ledger;
  yield;
  let count = 0;
  for (const [register, stamp] of snapshot.registers) if (actorOf(register) === actor && isActive(stamp)) count++;
  for (const [register, stamp] of overlay) {
    const under = snapshot.registers.get(register) ?? 0;
    if (stamp > under) count += Number(isActive(stamp)) - Number(isActive(under));
  }
  return count;
}

/** A register is named counter/actor. */
export const counterOf = (register: string) => register.slice(0, register.indexOf("/"));
export const actorOf = (register: string) => register.slice(register.indexOf("/") + 1);

/** One state of a relation, as a request of its own. */
export function* state(context: Context, thread: string, register: string): Steps<Stamp> {
  yield* enter(context.memory, thread);
  const stamp = yield* look(context, register);
  leave(context.memory, thread);
  return stamp;
}
