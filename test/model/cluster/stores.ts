import { beginFilling, endFilling, fillFilter, install, settled } from "../../../src/arithmetic/shard.ts";
import type { Stamp } from "../../../src/arithmetic/stamp.ts";
import { type Copy, catchUpCopy, freshCopy, renewCopy, setEnd, settleQuiet } from "./copy.ts";
import {
  ACTORS,
  type Context,
  type Frame,
  type Ledger,
  type LedgerShard,
  lastIn,
  type Node,
  SHARDS,
  type Steps,
} from "./state.ts";

/** Whoever has a connection to Redis. */
export type Client = Pick<Node, "conn"> & Partial<Pick<Node, "isBlind">>;

/** The store did not answer: what was asked may have happened, or may happen later. */
export const AWAY = "away";
export type Away = typeof AWAY;
export type Missing = "none" | "foreign";

/** One snapshot of the ledger: states are never changed in place, only replaced. */
export interface Snapshot {
  position: number;
  shards: LedgerShard[];
  hasSpools: boolean;
  hasUnseen: boolean;
}

export function* readLedger(world: Context): Steps<Snapshot | Away> {
  yield;
  if (world.ledger.away) return AWAY;
  const snapshot = snapshotOf(world.ledger);
  yield;
  return snapshot;
}

export function snapshotOf(ledger: Ledger): Snapshot {
  const { position, shards, spools, unseen } = ledger;
  return { position, shards: [...shards], hasSpools: spools.size > 0, hasUnseen: unseen.size > 0 };
}

export function* readEnd(world: Context): Steps<number | Away> {
  yield;
  if (world.kafka.away) return AWAY;
  const end = world.kafka.log.length;
  yield;
  return end;
}

/** The log's end, where it covers everything that was acknowledged. */
export function* knownEnd(world: Context): Steps<number | Away> {
  const { rules } = world;
  const early = rules.spoolsBeforeEnd ? null : yield* readEnd(world);
  const ledger = yield* readLedger(world);
  if (ledger === AWAY || (ledger.hasSpools && rules.endAfterSpools)) return AWAY;
  return early ?? (yield* readEnd(world));
}

/** One statement, a transaction by itself. */
export function* write(world: Context, change: () => void): Steps<undefined | Away> {
  const { ledger, mix, random } = world;
  yield;
  if (ledger.away) return AWAY;
  if (mix.cuts && !world.isResting && random.chance(0.3)) {
    const outcome = random.below(3);
    if (outcome === 0) change();
    else if (outcome === 1) ledger.late.push(change);
    return AWAY;
  }
  change();
  yield;
}

/** One message; its offset. A send without an answer may be in the log, or come into it later. */
export function* send(world: Context, node: Pick<Node, "isCut">, frames: Frame[]): Steps<number | Away> {
  const { kafka, mix, random } = world;
  yield;
  if (kafka.away || node.isCut) return AWAY;
  const append = () => {
    for (const frame of frames) {
      kafka.log.push(frame);
      kafka.ever.add(frame);
    }
    return kafka.log.length - 1;
  };
  if (mix.timeouts && !world.isResting && random.chance(0.08)) {
    const outcome = random.below(3);
    if (outcome === 0) append();
    else if (outcome === 1) world.redis.late.push(append);
    return AWAY;
  }
  const offset = append();
  yield;
  return offset;
}

/**
 * One script. The connection belongs to one run of Redis; whoever opens a new one asks for the run first. After `until` it
 * has no effect any more: its connection has given it up.
 */
export function* ask<T>(
  world: Context,
  node: Client,
  script: (run: number) => T,
  until = Number.POSITIVE_INFINITY,
): Steps<T | Away> {
  const { redis, mix, random } = world;
  yield;
  if (redis.away || node.isBlind) return AWAY;
  redis.isTouched = true;
  if (world.rules.identity && node.conn !== redis.run) {
    node.conn = redis.run;
    yield;
    if (redis.away || node.isBlind || redis.run !== node.conn) return AWAY;
  }
  if (world.wall > until) return AWAY;
  const { conn } = node;
  redis.isTouched = true;
  if (mix.timeouts && !world.isResting && random.chance(0.05)) {
    const outcome = random.below(3);
    if (outcome === 0) script(conn);
    else if (outcome === 1)
      redis.late.push(() => (redis.run === conn && world.wall <= until ? script(conn) : undefined));
    return AWAY;
  }
  const answer = script(conn);
  for (let wait = mix.hasty && random.chance(0.1) ? 20 : 1; wait > 0; wait--) yield;
  return redis.run === conn || !world.rules.identity ? answer : AWAY;
}

/** The copy as a script of this connection finds it. */
export function found(world: Context, shard: number, run: number): Copy | Missing {
  const copy = world.redis.copies[shard];
  if (!copy) return "none";
  return copy.run === run || !world.rules.identity ? copy : "foreign";
}

export function isMissing(copy: Copy | Missing): copy is Missing {
  return typeof copy === "string";
}

/** A new epoch for a copy that is not there or of another run. */
export function* renew(world: Context, node: Client, shard: number): Steps {
  const { rules } = world;
  const early = rules.openEnd ? Number.POSITIVE_INFINITY : yield* readEnd(world);
  const snapshot = yield* readLedger(world);
  if (snapshot === AWAY || early === AWAY) return;
  const ledger = versionOf(snapshot, shard);
  yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    if (!isMissing(copy)) return;
    const old = world.redis.copies[shard];
    const epoch = rules.uniqueEpoch ? ++world.epochs : (old?.shard.epoch ?? 0) + 1;
    if (old) renewCopy(old, ledger.version, { run, epoch, end: early }, rules);
    else world.redis.copies[shard] = freshCopy(ledger, early, epoch, run);
  });
}

export function versionOf(snapshot: Snapshot, shard: number) {
  const state = snapshot.shards[shard];
  if (state === undefined) throw new Error("no such shard");
  return { version: state.version, position: snapshot.position, last: state.last };
}

/** Makes an unsettled shard settled, if it can be: its end, the partition's position, or catching up. */
export function* settle(world: Context, node: Client, shard: number): Steps {
  const head = yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    return isMissing(copy) ? copy : { epoch: copy.shard.epoch, end: copy.shard.end };
  });
  if (head === AWAY || typeof head === "string") return;
  const end = yield* knownEnd(world);
  if (end !== AWAY && (head.end === Number.POSITIVE_INFINITY || (world.rules.lowerEnd && end < head.end)))
    yield* ask(world, node, (run) => {
      const copy = found(world, shard, run);
      if (!isMissing(copy)) setEnd(copy, head.epoch, end);
    });
  yield* repair(world, node, shard);
}

/** Brings a shard up to the ledger's version; or, at its version, to its position. */
export function* repair(world: Context, node: Client, shard: number): Steps<boolean> {
  const overlay = yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    if (isMissing(copy)) return copy;
    const keyed = [...copy.keyed.values()];
    const entries = [...keyed, ...copy.groups.values(), ...copy.shard.relations.values()];
    const sources = new Set(entries.map(({ source }) => source));
    return { registers: [...copy.shard.relations.keys()], keys: keyed.map(({ key }) => key), sources };
  });
  if (overlay === AWAY) return false;
  if (typeof overlay === "string") {
    yield* renew(world, node, shard);
    return false;
  }
  const snapshot = yield* readLedger(world);
  if (snapshot === AWAY) return false;
  const state = snapshot.shards[shard] as LedgerShard;
  const last = new Map(state.last);
  const { catchUpAsksRetired } = world.rules;
  for (const source of overlay.sources)
    last.set(source, catchUpAsksRetired ? lastIn(state, source) : (last.get(source) ?? 0));
  const ledger = { ...versionOf(snapshot, shard), last };
  const registers = new Map<string, Stamp>(overlay.registers.map((name) => [name, state.registers.get(name) ?? 0]));
  const asked = new Set(overlay.keys);
  const keys = new Set(overlay.keys.filter((key) => state.keys.has(key)));
  const done = yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    if (isMissing(copy)) return false;
    if (world.rules.settleQuiet && settleQuiet(copy, ledger)) return true;
    return copy.shard.version === ledger.version || catchUpCopy(copy, ledger, registers, asked, keys, world.rules);
  });
  return done === true;
}

/** Loads a base that nobody has loaded. */
export function* load(world: Context, node: Client, count: string, shard: number): Steps {
  const snapshot = yield* readLedger(world);
  if (snapshot === AWAY) return;
  const state = snapshot.shards[shard] as LedgerShard;
  const done = yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    return isMissing(copy) ? copy : install(copy.shard, count, state.counts.get(count) ?? 0, state.version);
  });
  if (done === false) yield* repair(world, node, shard);
  else if (typeof done === "string" && done !== AWAY) yield* renew(world, node, shard);
}

/** Fills the filter of a shard that has none, or one that is behind; two may do it at once. */
export function* filler(world: Context, client: Client): Steps {
  for (let n = 0; ; n++) {
    for (let wait = world.random.below(60); wait > 0; wait--) yield;
    const shard = world.random.below(SHARDS);
    const early = world.rules.fillReadsLate ? null : yield* readLedger(world);
    const token = `${client.conn} ${n} ${world.random.next()}`;
    const isBegun = yield* ask(world, client, (run) => {
      const copy = found(world, shard, run);
      if (isMissing(copy)) return false;
      const { filter, version } = copy.shard;
      if (filter && filter.filling === null && filter.version >= version) return false;
      beginFilling(copy.shard, token);
      return true;
    });
    if (isBegun !== true) continue;
    let isThere = true;
    for (const actor of ACTORS) {
      const snapshot = early ?? (yield* readLedger(world));
      const name = `${shard}/${actor}`;
      const stored = snapshot === AWAY ? 0 : (snapshot.shards[shard]?.registers.get(name) ?? 0);
      const isFilled = yield* ask(world, client, (run) => {
        const copy = found(world, shard, run);
        return !isMissing(copy) && fillFilter(copy.shard, token, stored > 0 ? [name] : []);
      });
      isThere = isThere && snapshot !== AWAY && isFilled === true;
    }
    if (!isThere) continue;
    for (let wait = world.random.below(100); wait > 0; wait--) yield;
    yield* ask(world, client, (run) => {
      const copy = found(world, shard, run);
      if (!isMissing(copy)) endFilling(copy.shard, token);
    });
  }
}

export function isSettled(world: Context, copy: Copy): boolean {
  return !world.rules.lookSettled || settled(copy.shard);
}

export function emptyLedger(): Ledger {
  const shards = [];
  for (let i = 0; i < 2; i++)
    shards.push({
      version: 0,
      counts: new Map(),
      registers: new Map(),
      last: new Map(),
      retired: new Map(),
      keys: new Set<string>(),
    });
  return { position: 0, shards, spools: new Set(), unseen: new Set(), late: [], away: false, appliedAt: new Map() };
}
