import { countDelta, merge } from "../../../src/arithmetic/register.ts";
import type { Stamp } from "../../../src/arithmetic/stamp.ts";
import { advanceCopy } from "./copy.ts";
import {
  bump,
  type Context,
  copyLedgerShard,
  type Frame,
  type LedgerShard,
  likesOf,
  type Rec,
  registerOf,
  SHARDS,
  type Steps,
} from "./state.ts";
import { AWAY, ask, type Client, found, isMissing, readLedger, repair } from "./stores.ts";

/** What one transaction changed in one shard. */
interface Touched {
  state: LedgerShard;
  counts: Set<string>;
  registers: Map<string, Stamp>;
  keys: Set<string>;
}

/** Reads the log and brings it into the ledger. Several may run at once: nothing fences them but the rows. */
export function* projector(world: Context, client: Client): Steps {
  while (true) {
    const start = yield* readLedger(world);
    if (start === AWAY) continue;
    const isAnew = world.mix.retires && !world.isResting && world.random.chance(0.2);
    yield* consume(world, client, isAnew ? 0 : start.position);
  }
}

function* consume(world: Context, client: Client, from: number): Steps {
  const { random, kafka, ledger } = world;
  let next = from;
  while (world.isResting || !random.chance(0.02)) {
    yield;
    if (kafka.away || ledger.away) continue;
    if (next > kafka.log.length) {
      // The log lost its tail or was made anew: an alarm, and on at its end.
      ledger.position = Math.min(ledger.position, kafka.log.length);
      return;
    }
    const batch = kafka.log.slice(next, next + 1 + random.below(3));
    if (batch.length === 0) {
      for (let shard = 0; shard < SHARDS; shard++) yield* repair(world, client, shard);
      continue;
    }
    const touched = yield* commit(world, next, batch);
    if (touched === null) return;
    next += batch.length;
    if (world.mix.kill && !world.isResting && random.chance(0.1)) return;
    for (const [shard, change] of touched) yield* publish(world, client, shard, change);
  }
}

/** One transaction; null where it is refused. */
function* commit(world: Context, from: number, batch: Frame[]): Steps<Map<number, Touched> | null> {
  const { ledger } = world;
  const early = ledger.shards;
  let touched = decideAll(world, ledger.shards, batch);
  yield;
  yield;
  if (ledger.away || from > ledger.position) return null;
  if (world.rules.lock) touched = decideAll(world, ledger.shards, batch, world.rules.rowsFirst ? ledger.shards : early);
  for (const [shard, { state }] of touched) {
    ledger.shards[shard] = state;
    world.past[shard]?.push(state);
  }
  for (const { source } of batch) if (touched.size > 0) ledger.appliedAt.set(source, world.wall);
  ledger.position = Math.max(ledger.position, from + batch.length);
  return touched;
}

/** `retired`: the shards as they were when the retired sources were looked at. */
function decideAll(
  world: Context,
  shards: LedgerShard[],
  batch: Frame[],
  retired: LedgerShard[] = shards,
): Map<number, Touched> {
  const touched = new Map<number, Touched>();
  for (const { records } of batch)
    for (const rec of records) {
      const known = touched.get(rec.shard);
      const state = known?.state ?? (shards[rec.shard] as LedgerShard);
      const packed = world.rules.applyAsksRetired ? (retired[rec.shard]?.retired.get(rec.source) ?? 0) : 0;
      const last = state.last.get(rec.source) ?? packed;
      const first = rec.kind === "tally" ? rec.from : rec.n;
      if (rec.n <= last) continue;
      if (first > last + 1 && world.rules.gapHolds) continue;
      const change = known ?? { state: begin(state), counts: new Set(), registers: new Map(), keys: new Set() };
      touched.set(rec.shard, change);
      change.state.last.set(rec.source, rec.n);
      apply(world, change, rec);
    }
  return touched;
}

function begin(state: LedgerShard): LedgerShard {
  const copy = copyLedgerShard(state);
  copy.version++;
  return copy;
}

function apply(world: Context, change: Touched, rec: Rec): void {
  const { state } = change;
  if (rec.kind === "tally") {
    for (const [count, amount] of rec.amounts) {
      bump(state.counts, count, amount);
      change.counts.add(count);
    }
  } else if (rec.kind === "keyed") {
    change.keys.add(rec.key);
    if (state.keys.has(rec.key) && world.rules.ledgerKeys) return;
    state.keys.add(rec.key);
    bump(state.counts, rec.count, rec.amount);
    change.counts.add(rec.count);
  } else {
    const name = registerOf(rec);
    const old = state.registers.get(name) ?? 0;
    bump(state.counts, likesOf(rec.shard), countDelta(old, rec.stamp));
    change.counts.add(likesOf(rec.shard));
    state.registers.set(name, merge(old, rec.stamp));
    change.registers.set(name, merge(old, rec.stamp));
  }
}

/** After the commit: the shard's new version into Redis, then the hints of what it no longer needs. */
function* publish(world: Context, client: Client, shard: number, change: Touched): Steps {
  const { state, registers, keys } = change;
  const position = world.ledger.position;
  const counts = new Map([...change.counts].map((count) => [count, state.counts.get(count) ?? 0]));
  const done = yield* ask(world, client, (run) => {
    const copy = found(world, shard, run);
    if (isMissing(copy)) return false;
    const ledger = { version: state.version, position, last: state.last, counts };
    return advanceCopy(copy, ledger, registers, keys, world.rules);
  });
  if (done !== true && !(yield* repair(world, client, shard))) return;
  yield* unhint(world, client, shard, registers);
}

function* unhint(world: Context, client: Client, shard: number, registers: ReadonlyMap<string, Stamp>): Steps {
  for (const [name, stamp] of registers) {
    const actor = name.slice(name.indexOf("/") + 1);
    yield* ask(world, client, () => {
      const hints = world.redis.hints.get(actor);
      if (!world.rules.hintStamp || (hints?.get(shard) ?? 0) <= stamp) hints?.delete(shard);
    });
  }
}
