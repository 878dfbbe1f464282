import { countDelta } from "../../../src/arithmetic/register.ts";
import { type HybridClock, isActive, type Stamp } from "../../../src/arithmetic/stamp.ts";
import { clear, insert, look, room } from "./overlay.ts";
import { type Act, bump, type Context, enter, type LogRecord, leave, type Slot, type Steps } from "./state.ts";
import { hold, shown } from "./table.ts";

interface Planned {
  act: Act;
  slot: Slot | null;
  seen: Stamp;
  /** What its record changes the shown count by; null where it needs none. */
  record: LogRecord | null;
  delta: number;
}

/** One thread: takes a batch, looks, appends one frame, publishes, answers. */
export function* writer(context: Context, clock: HybridClock): Steps {
  const { memory, random, rules } = context;
  while (true) {
    yield;
    if (rules.writerClears) yield* clear(context);
    if (memory.acts.length === 0) continue;
    const batch = memory.acts.splice(0, 1 + random.below(4));
    yield* enter(memory, "writer");
    const planned = yield* plan(context, clock, batch);
    const frame = planned.flatMap((one) => (one.record ? [one.record] : []));
    if (!rules.publishAfterAppend) yield* publish(context, planned);
    yield;
    const isWritten = append(context, frame);
    yield;
    if (!isWritten) {
      if (rules.numbersBack) memory.writer.n -= frame.length;
      leave(memory, "writer");
      for (const { act, record } of planned) act.outcome ??= record ? "unavailable" : null;
      memory.acts.unshift(...planned.map((one) => one.act).filter((act) => act.outcome === null));
      continue;
    }
    for (const { act, record } of planned) act.position = record ? context.disk.log.length : act.position;
    if (!rules.answerAfterPublish) yield* answer(context, planned);
    if (rules.publishAfterAppend) yield* publish(context, planned);
    yield* answer(context, planned);
    leave(memory, "writer");
  }
}

function* plan(context: Context, clock: HybridClock, batch: Act[]): Steps<Planned[]> {
  const { memory, rules } = context;
  const planned: Planned[] = [];
  const pending = new Map<string, Stamp>();
  const pendingKeys = new Set<string>();
  let left = room(memory);
  for (const act of batch) {
    const slot = yield* hold(context, "writer", act.counter, rules.rescueBeforeAppend);
    if (slot === null || (rules.roomBeforeAppend && act.kind === "relate" && left === 0)) {
      act.outcome = "unavailable";
      continue;
    }
    const isKnown =
      act.key !== null && (memory.keys.has(act.key) || (rules.batchSeesItself && pendingKeys.has(act.key)));
    if (act.kind === "addOnce") {
      const record: LogRecord | null = isKnown
        ? null
        : { ...number(context), kind: "keyed", counter: act.counter, amount: act.amount, key: act.key ?? "" };
      planned.push({ act, slot, seen: 0, record, delta: isKnown ? 0 : act.amount });
    } else {
      const before = rules.batchSeesItself ? pending.get(act.register) : undefined;
      const seen = before ?? (yield* look(context, act.register));
      const isRepeat = isKnown || isActive(seen) === act.active;
      if (isRepeat && (isKnown || act.key === null || !rules.keyedAlways)) {
        planned.push({ act, slot, seen, record: null, delta: 0 });
      } else {
        // A keyed repeat is a record that carries its key and leaves the register as it is.
        const stamp = isRepeat ? seen : clock.stamp(context.nowMs(), seen, act.active);
        const { counter, register, key } = act;
        const record: LogRecord = { ...number(context), kind: "relation", counter, register, stamp, key };
        planned.push({ act, slot, seen, record, delta: countDelta(seen, stamp) });
        pending.set(register, stamp);
        left--;
      }
    }
    if (act.key !== null) pendingKeys.add(act.key);
  }
  return planned;
}

function number(context: Context): { source: string; n: number; position: number } {
  const { writer } = context.memory;
  return { source: writer.source, n: ++writer.n, position: 0 };
}

/** One frame: all of it or nothing. Each record's look is compared with what the log really held. */
function append(context: Context, frame: LogRecord[]): boolean {
  const { disk, truth, memory, random } = context;
  if (frame.length === 0) return true;
  if (random.chance(0.05)) return false;
  for (const record of frame) {
    record.position = disk.log.length + 1;
    disk.log.push(record);
    if (record.kind === "note") continue;
    const slot = memory.index.get(record.counter);
    if (slot === undefined || slot.loaded !== "yes" || slot.state === "dead")
      context.problem("a record for a counter that is not loaded");
    if (record.key !== null) {
      if (truth.keys.has(record.key)) context.problem("a key is in the log twice");
      truth.keys.add(record.key);
    }
    if (record.kind === "keyed") bump(truth.added, record.counter, record.amount);
    else remember(context, record);
  }
  return true;
}

function remember(context: Context, record: Extract<LogRecord, { kind: "relation" }>): void {
  const { truth } = context;
  const { register, counter, stamp, position } = record;
  const before = truth.registers.get(register) ?? 0;
  if (stamp < before) context.problem("an act is stamped below its register");
  const newest = Math.max(0, ...truth.registers.values());
  if (stamp !== before && stamp < newest) context.problem("a list is not newest first");
  truth.registers.set(register, Math.max(stamp, before));
  const stamps = truth.stamps.get(register) ?? [];
  truth.stamps.set(register, stamps);
  stamps.push({ position, value: stamp });
  const counts = truth.counts.get(counter) ?? [];
  truth.counts.set(counter, counts);
  counts.push({ position, value: (counts.at(-1)?.value ?? 0) + countDelta(before, stamp) });
}

function* publish(context: Context, planned: Planned[]): Steps {
  const { memory, rules } = context;
  for (const { act, slot, record, delta } of planned) {
    if (record === null || slot === null) continue;
    if (record.kind === "relation") yield* insert(context, record);
    if (act.key !== null) memory.keys.add(act.key);
    yield;
    slot.base += delta;
    if (!rules.rescueBeforeAppend && slot.state === "leaving") slot.state = "live";
    yield;
  }
}

function* answer(context: Context, planned: Planned[]): Steps {
  for (const { act, slot, seen, record } of planned) {
    if (act.outcome !== null || slot === null) continue;
    const count = yield* shown(context, slot);
    yield;
    const changed = record?.kind === "relation" && isActive(record.stamp) !== isActive(seen);
    act.outcome =
      act.kind === "relate"
        ? { count, active: isActive(record?.kind === "relation" ? record.stamp : seen), changed }
        : { count };
  }
}
