import {
  bump,
  type Context,
  enter,
  FOLD_AT,
  type Ledger,
  leave,
  mod,
  type Note,
  type Outcome,
  OWED_MAX,
  type Slot,
  type Steps,
} from "./state.ts";

/** What the ledger and the tail of the log say together. */
export function countOf(context: Context, ledger: Ledger, counter: string): number {
  let count = ledger.counts.get(counter) ?? 0;
  if (context.rules.tail)
    for (const part of context.memory.tail)
      if (part.counter === counter && part.position > ledger.position) count += part.delta;
  return count;
}

/** The counter's slot, live and loaded; null where none is free. For one who is inside an operation. */
export function* hold(context: Context, thread: string, counter: string, rescue: boolean): Steps<Slot | null> {
  while (true) {
    const slot = context.memory.index.get(counter) ?? (yield* claim(context, counter));
    yield;
    if (slot === null) return null;
    if (slot.state === "dead") {
      // About to be unlinked, which waits for nobody: look again, and stay inside, for slots held before this one.
      continue;
    }
    if (rescue && slot.state === "leaving") slot.state = "live";
    yield;
    yield* load(context, thread, slot);
    return slot;
  }
}

function* claim(context: Context, counter: string): Steps<Slot | null> {
  const { memory, rules } = context;
  const slot = memory.free.pop();
  if (slot === undefined) return null;
  slot.mapped.counter = counter;
  yield;
  const other = memory.index.get(counter);
  if (!rules.oneSlot) yield;
  if (other !== undefined) {
    memory.free.push(slot);
    return other;
  }
  slot.state = "live";
  memory.index.set(counter, slot);
  return slot;
}

function* load(context: Context, thread: string, slot: Slot): Steps {
  while (slot.loaded !== "yes") {
    if (slot.loaded === "loading") {
      yield;
      continue;
    }
    if (context.rules.claimLoad) {
      slot.loaded = "loading";
      slot.loader = thread;
    }
    yield;
    const snapshot = context.disk.ledger;
    yield;
    if (isLoaded(slot)) return;
    if (!context.rules.claimLoad) yield;
    slot.base = countOf(context, snapshot, slot.mapped.counter);
    yield;
    slot.loaded = "yes";
  }
}

/** Another thread may have changed it since the last look. */
const isLoaded = (slot: Slot) => slot.loaded === "yes";

export function* shown(context: Context, slot: Slot): Steps<number> {
  while (true) {
    const { sequence } = slot;
    yield;
    const { folded } = slot;
    yield;
    const { mark } = slot;
    yield;
    const { adds } = slot.mapped;
    yield;
    const { base } = slot;
    if (!context.rules.foldSequence) return base + folded + mod(adds - mark);
    if (sequence % 2 === 0 && slot.sequence === sequence) return base + folded + mod(adds - mark);
    yield;
  }
}

/** A worker's add. */
export function* add(context: Context, thread: string, counter: string, by: number): Steps<Outcome> {
  const { memory, rules, truth } = context;
  for (let attempt = 0; attempt < 40; attempt++) {
    yield* enter(memory, thread);
    const slot = yield* hold(context, thread, counter, rules.rescueBeforeAdd);
    if (slot === null || (rules.room && mod(slot.mapped.adds - slot.mapped.noted) > OWED_MAX)) {
      leave(memory, thread);
      for (let i = 0; i < 5; i++) yield;
      continue;
    }
    if (!rules.dirtyOrder) memory.dirty.add(slot);
    yield;
    slot.mapped.adds = mod(slot.mapped.adds + by);
    bump(truth.added, counter, by);
    yield;
    if (rules.dirtyOrder) memory.dirty.add(slot);
    if (!rules.rescueBeforeAdd && slot.state === "leaving") slot.state = "live";
    yield;
    const count = yield* shown(context, slot);
    leave(memory, thread);
    return { count };
  }
  return "unavailable";
}

/**
 * The count, without making a slot. Where there was none, it looks again after it has read the ledger: by now the writer
 * may have loaded one and logged a keyed increment that the ledger shows and the slot does not show yet.
 */
export function* count(context: Context, thread: string, counter: string): Steps<number> {
  const { memory, rules } = context;
  if (rules.readersCount) yield* enter(memory, thread);
  let result = yield* shownIfLoaded(context, counter);
  if (result === null) {
    const snapshot = context.disk.ledger;
    yield;
    const stored = countOf(context, snapshot, counter);
    result = rules.lookAgain ? ((yield* shownIfLoaded(context, counter)) ?? stored) : stored;
  }
  if (rules.readersCount) leave(memory, thread);
  return result;
}

function* shownIfLoaded(context: Context, counter: string): Steps<number | null> {
  const slot = context.memory.index.get(counter);
  yield;
  if (slot?.loaded !== "yes") return null;
  yield;
  return yield* shown(context, slot);
}

/** Main: one flush of what is dirty. */
export function* flush(context: Context): Steps {
  context.memory.flushing++;
  yield* flushOnce(context);
  context.memory.flushing--;
}

function* flushOnce(context: Context): Steps {
  const { memory, disk, rules } = context;
  const notes: (Note & { mapped: Slot })[] = [];
  for (const slot of [...memory.dirty]) {
    if (rules.dirtyOrder) memory.dirty.delete(slot);
    yield;
    const { adds } = slot.mapped;
    yield;
    if (!rules.dirtyOrder) memory.dirty.delete(slot);
    const amount = mod(adds - slot.mapped.noted);
    if (amount > 0) notes.push({ slot: slot.at, counter: slot.mapped.counter, notedAfter: adds, amount, mapped: slot });
  }
  if (notes.length === 0) return;
  yield;
  if (!rules.noteFirst) for (const { mapped, notedAfter } of notes) mapped.mapped.noted = notedAfter;
  yield;
  for (const { slot, counter, notedAfter, amount, mapped } of notes) {
    if (context.memory.index.get(counter) !== mapped) context.problem("a note for a counter that has no slot");
    const { source } = memory.notes;
    const n = ++memory.notes.n;
    disk.log.push({ kind: "note", source, n, position: disk.log.length + 1, slot, counter, notedAfter, amount });
  }
  const end = disk.log.length;
  yield;
  for (const { mapped, notedAfter } of notes) {
    if (rules.foldFirst) yield* fold(context, mapped, notedAfter);
    if (rules.noteFirst) mapped.mapped.noted = notedAfter;
    yield;
    if (!rules.foldFirst) yield* fold(context, mapped, notedAfter);
  }
  memory.safeToTrim = end;
}

function* fold(context: Context, slot: Slot, upTo: number): Steps {
  if (!context.rules.fold || mod(upTo - slot.mark) < FOLD_AT) return;
  slot.sequence++;
  yield;
  slot.folded += mod(upTo - slot.mark);
  yield;
  slot.mark = upTo;
  yield;
  slot.sequence++;
  yield;
}

/** Waits until every thread that is inside an operation now has left it. */
function* quiet(context: Context): Steps {
  const { inside } = context.memory;
  for (const [thread, was] of [...inside]) {
    if (was % 2 === 0 || (thread === "writer" && !context.rules.writerCounts)) continue;
    while (inside.get(thread) === was) yield;
  }
}

/** Main: a slot that is idle leaves. One at a time. */
export function* evict(context: Context, slot: Slot): Steps {
  const { memory, disk, rules } = context;
  if (slot.state !== "live") return;
  slot.state = "leaving";
  yield;
  if (rules.quietBeforeCheck) yield* quiet(context);
  yield;
  if (slot.mapped.adds !== slot.mapped.noted || slot.loaded === "loading") {
    if (slot.state === "leaving") slot.state = "live";
    return;
  }
  yield;
  const head = disk.log.length;
  while (rules.waitForLedger && disk.ledger.position < head) yield;
  if (!rules.casDecides) {
    const { state } = slot;
    yield;
    if (state !== "leaving") return;
  } else if (slot.state !== "leaving") return;
  slot.state = "dead";
  yield;
  memory.index.delete(slot.mapped.counter);
  yield;
  if (rules.quietBeforeReuse) yield* quiet(context);
  slot.loaded = "no";
  yield;
  if (!rules.wordsRunOn) {
    slot.mapped.adds = 0;
    slot.mapped.noted = 0;
  }
  slot.mark = slot.mapped.adds;
  slot.folded = 0;
  slot.state = "free";
  memory.free.push(slot);
}
