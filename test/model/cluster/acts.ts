import { type Hint, isNever } from "../../../src/arithmetic/shard.ts";
import { isActive, nextStamp, type Stamp, timeOf } from "../../../src/arithmetic/stamp.ts";
import { putKeyed, putRegister, type RelationAnswer } from "./copy.ts";
import { append, isAcked, isDurable, nextNumber, tellUnseen } from "./node.ts";
import {
  type Context,
  type Frame,
  type KeyedRec,
  likesOf,
  type Memo,
  type Node,
  putUntil,
  type RelationRec,
  registerOf,
  SHARDS,
  type Steps,
} from "./state.ts";
import {
  AWAY,
  type Away,
  ask,
  found,
  isMissing,
  isSettled,
  knownEnd,
  readLedger,
  renew,
  repair,
  settle,
} from "./stores.ts";

/* What requests do on a node. */

export interface Answer {
  status: 200 | 202;
  /** Whether a look counted. */
  looked: boolean;
  /** null: not known. */
  changed: boolean | null;
  rec: RelationRec | null;
}

/** The register as everybody must see it; null: not in time. */
export function* look(world: Context, node: Node, shard: number, actor: string): Steps<Stamp | null> {
  const name = `${shard}/${actor}`;
  for (let tries = 3 + world.random.below(world.isResting ? 1 : 12); tries > 0; tries--) {
    const early = world.rules.overlayFirst ? null : yield* readLedger(world);
    const seen = yield* ask(world, node, (run) => {
      const copy = found(world, shard, run);
      if (isMissing(copy)) return copy;
      const stamp = copy.shard.relations.get(name)?.stamp ?? (isNever(copy.shard, name) ? 0 : null);
      return { settled: isSettled(world, copy), stamp };
    });
    if (seen === AWAY) continue;
    if (typeof seen === "string") {
      yield* renew(world, node, shard);
      continue;
    }
    if (!seen.settled) {
      yield* settle(world, node, shard);
      continue;
    }
    if (seen.stamp !== null) return seen.stamp;
    const ledger = early ?? (yield* readLedger(world));
    if (ledger !== AWAY) return ledger.shards[shard]?.registers.get(name) ?? 0;
  }
  return null;
}

export function* relate(world: Context, node: Node, shard: number, actor: string, active: boolean): Steps<Answer> {
  const isSame = (seen: Stamp | null) => seen !== null && isActive(seen) === active;
  let seen = yield* look(world, node, shard, actor);
  if (isSame(seen)) seen = yield* lookAgain(world, node, { shard, actor, seen });
  if (isSame(seen)) return { status: 200, looked: true, changed: false, rec: null };
  const stamp = nextStamp(Math.max(world.wallTime(node), node.clock + 1), seen ?? 0, active);
  node.clock = timeOf(stamp);
  const source = `${node.index}.${node.life}r`;
  const n = nextNumber(node, source, shard);
  const rec: RelationRec = { kind: "relation", source, shard, n, actor, stamp };
  const frame = { source, records: [rec] };
  const memo = append(world, node, frame);
  memo.isBusy = true;
  const status = yield* untilDurable(node, frame);
  const put = yield* putAct(world, node, rec, memo);
  memo.isBusy = false;
  const looked = seen !== null;
  if (put === AWAY) {
    yield* tellUnseen(world, node);
    return { status: 202, looked, changed: null, rec };
  }
  const changed = world.rules.putDecidesChanged ? put.changed : isActive(seen ?? 0) !== active;
  // Where the others do not know of the spool, Redis may lose it, and one of them change the same once more.
  if (changed === null || status === 202) return { status: 202, looked, changed: null, rec };
  return { status, looked, changed, rec };
}

/** Before it is said that there is nothing to do; null where an act may be hidden from everybody else. */
function* lookAgain(
  world: Context,
  node: Node,
  { shard, actor, seen }: { shard: number; actor: string; seen: Stamp | null },
): Steps<Stamp | null> {
  const { rules } = world;
  if (!rules.unseenAsked) return seen;
  for (let wait = world.random.below(20); wait > 0; wait--) yield;
  const ledger = yield* readLedger(world);
  if (ledger === AWAY) return null;
  if (ledger.hasUnseen) return yield* applied(world, `${shard}/${actor}`);
  // What is put and told no more since the first look would be missed.
  return rules.unseenFirst ? yield* look(world, node, shard, actor) : seen;
}

/** The register in the ledger once that has all that was acknowledged by now; null: not in time. */
function* applied(world: Context, name: string): Steps<Stamp | null> {
  const end = yield* knownEnd(world);
  if (end === AWAY) return null;
  for (let tries = 3 + world.random.below(30); tries > 0; tries--) {
    const ledger = yield* readLedger(world);
    if (ledger === AWAY) return null;
    if (ledger.position >= end || !world.rules.unseenApplied)
      return ledger.shards[Number(name[0])]?.registers.get(name) ?? 0;
  }
  return null;
}

/** 200 where Kafka has it, or the disk does and others can know of that. */
function* untilDurable(node: Node, frame: Frame): Steps<200 | 202> {
  while (true) {
    const entry = node.disk.outbox.find((one) => one.frame === frame);
    if (!entry || isAcked(node, entry)) return 200;
    if (isDurable(node, entry)) return node.isToldOf ? 200 : 202;
    yield;
  }
}

/** The act's own put, for a while; what fails here is made later. */
function* putAct(world: Context, node: Node, rec: RelationRec, memo: Memo): Steps<{ changed: boolean | null } | Away> {
  const until = putUntil(world, memo.at);
  for (let tries = 2 + world.random.below(10); tries > 0; tries--) {
    // A put without an answer, or one by the node's replay, may have been here before this one.
    const isFirst = !memo.begun.has(rec.shard);
    memo.begun.add(rec.shard);
    const answer = yield* putOnce(world, node, rec, until);
    if (answer === AWAY) continue;
    confirmAt(world, node, memo, rec.shard, answer.epoch);
    return { changed: changedBy(world, rec, answer, isFirst) };
  }
  if (!world.rules.putLater) memo.put.add(rec.shard);
  return AWAY;
}

/** What was put into an epoch that is not (or not yet) the one this node knows must be put again. */
export function confirmAt(world: Context, node: Node, memo: Memo, shard: number, epoch: number): void {
  if (!world.rules.confirmEpoch || epoch === node.epochs[shard]) memo.put.add(shard);
}

type Put = RelationAnswer & { settled: boolean; epoch: number };

function changedBy(world: Context, rec: RelationRec, put: Put, isFirst: boolean): boolean | null {
  const { rules } = world;
  if (rules.changedNeedsSettled && !put.settled) return null;
  if (rules.unknownClaimsNothing) {
    if (put.seen === null || put.seen === rec.stamp || (!isFirst && put.seen > rec.stamp)) return null;
  }
  const seen = put.seen ?? 0;
  return isActive(seen) !== isActive(put.stamp);
}

/** Hint, then entry; with a hint of the ledger's register where the overlay has none. */
export function* putOnce(world: Context, node: Node, rec: RelationRec, until: number): Steps<Put | Away> {
  const { rules } = world;
  const name = registerOf(rec);
  let hint: Hint | null = null;
  if (rules.hintFirst && (yield* hintActor(world, node, rec)) === AWAY) return AWAY;
  for (let tries = 1; tries < 6; tries++) {
    const answer = yield* ask(
      world,
      node,
      (run) => {
        const copy = found(world, rec.shard, run);
        if (isMissing(copy)) return copy;
        const { stamp, source, n } = rec;
        const put = putRegister(copy, name, { count: likesOf(rec.shard), stamp, source, n }, hint);
        return { ...put, settled: isSettled(world, copy), version: copy.shard.version, epoch: copy.shard.epoch };
      },
      until,
    );
    if (answer === AWAY) return AWAY;
    if (typeof answer === "string") {
      yield* renew(world, node, rec.shard);
      continue;
    }
    if (answer.status === "ok") {
      if (!rules.hintFirst) yield* hintActor(world, node, rec);
      return answer;
    }
    const ledger = yield* readLedger(world);
    if (ledger === AWAY) return AWAY;
    const state = ledger.shards[rec.shard];
    hint = { stamp: state?.registers.get(name) ?? 0, version: state?.version ?? 0 };
    if (hint.version > answer.version) yield* repair(world, node, rec.shard);
  }
  return AWAY;
}

function* hintActor(world: Context, node: Node, rec: RelationRec): Steps<boolean | Away> {
  return yield* ask(world, node, () => {
    const { hints } = world.redis;
    const known = hints.get(rec.actor) ?? new Map<number, Stamp>();
    hints.set(rec.actor, known.set(rec.shard, Math.max(rec.stamp, known.get(rec.shard) ?? 0)));
    return true;
  });
}

// ---- keys

/** An increment named by a key; true: it is durable, by this call or an earlier one. */
export function* addOnce(world: Context, node: Node, key: string, count: string, amount: number): Steps<boolean> {
  const shard = Number(count[0]);
  const onTheWay = yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    return !isMissing(copy) && copy.keyed.has(key);
  });
  if (onTheWay === true) return true;
  const ledger = yield* readLedger(world);
  if (ledger !== AWAY && ledger.shards[shard]?.keys.has(key)) return true;
  const source = `${node.index}.${node.life}r`;
  const rec: KeyedRec = { kind: "keyed", source, shard, n: nextNumber(node, source, shard), key, count, amount };
  const frame = { source, records: [rec] };
  const memo = append(world, node, frame);
  yield* untilDurable(node, frame);
  memo.begun.add(shard);
  const epoch = yield* putKey(world, node, rec, putUntil(world, memo.at));
  if (epoch !== AWAY) confirmAt(world, node, memo, shard, epoch);
  return true;
}

/** The epoch in which it is in the overlay, or needs not be. */
export function* putKey(world: Context, node: Node, rec: KeyedRec, until: number): Steps<number | Away> {
  let version: number | null = null;
  for (let tries = 1; tries < 6; tries++) {
    const answer = yield* ask(
      world,
      node,
      (run) => {
        const copy = found(world, rec.shard, run);
        if (isMissing(copy)) return copy;
        return {
          status: putKeyed(copy, rec, version, world.rules),
          version: copy.shard.version,
          epoch: copy.shard.epoch,
        };
      },
      until,
    );
    if (answer === AWAY) return AWAY;
    if (typeof answer === "string") {
      yield* renew(world, node, rec.shard);
      continue;
    }
    if (answer.status === "ok") return answer.epoch;
    const ledger = yield* readLedger(world);
    if (ledger === AWAY) return AWAY;
    const state = ledger.shards[rec.shard];
    const stored = state?.version ?? 0;
    const isCounted = state?.keys.has(rec.key) === true;
    // The ledger has the key, and so has a copy at that version: the copy is brought there, and the entry never put.
    if (isCounted && stored <= answer.version) return answer.epoch;
    version = isCounted ? null : stored;
    if (stored > answer.version) yield* repair(world, node, rec.shard);
  }
  return AWAY;
}

// ---- lists

/** What an actor is active on, from the actor's side; null: a store is away. */
export function* actorList(world: Context, node: Node, actor: string): Steps<Map<string, Stamp> | null> {
  const { rules } = world;
  const early = rules.listOrder ? null : yield* readLedger(world);
  const hinted = yield* ask(world, node, () => [...(world.redis.hints.get(actor)?.keys() ?? [])]);
  if (hinted === AWAY || early === AWAY) return null;
  const stamps = new Map<string, Stamp>();
  for (const shard of hinted) {
    const name = `${shard}/${actor}`;
    const stamp = yield* ask(world, node, (run) => {
      const copy = found(world, shard, run);
      return isMissing(copy) ? copy : (copy.shard.relations.get(name)?.stamp ?? 0);
    });
    if (typeof stamp === "string") return null;
    stamps.set(name, stamp);
  }
  const ledger = early ?? (yield* readLedger(world));
  if (ledger === AWAY) return null;
  for (let shard = 0; shard < SHARDS; shard++) {
    const name = `${shard}/${actor}`;
    const stored = ledger.shards[shard]?.registers.get(name) ?? 0;
    stamps.set(name, Math.max(stored, stamps.get(name) ?? 0));
  }
  return stamps;
}
