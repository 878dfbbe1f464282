import { shown } from "../../../src/arithmetic/shard.ts";
import { confirmAt, putKey, putOnce } from "./acts.ts";
import { type Copy, putGroup } from "./copy.ts";
import { confirm, endUnseen, isDurable, moved, sawVersion } from "./node.ts";
import {
  COUNTS,
  type Context,
  type Frame,
  isIn,
  type Memo,
  type Node,
  putUntil,
  type Rec,
  SHARDS,
  type Steps,
  shardOf,
  type TallyRec,
} from "./state.ts";
import { AWAY, ask, found, isMissing, load, readLedger, renew, repair, settle } from "./stores.ts";

/* What a node puts into Redis later or again, and what it shows of tallies between flushes. */

/** Epochs, then whatever is not known to be in Redis, in the outbox's order. */
export function* putter(world: Context, node: Node): Steps {
  while (true) {
    yield;
    for (let shard = 0; shard < SHARDS; shard++) yield* watch(world, node, shard);
    for (const entry of [...node.disk.outbox]) {
      const memo = node.memo.get(entry.frame);
      if (!memo || (memo.isBusy && world.rules.onePutter)) continue;
      if (world.rules.durableBeforePut && !isDurable(node, entry)) continue;
      for (const rec of entry.frame.records) {
        if (memo.put.has(rec.shard)) continue;
        const until = yield* mayPut(world, node, entry.frame, rec, memo);
        if (until === null) continue;
        if (rec.kind === "tally") yield* putTallies(world, node, rec, { frame: entry.frame, memo, until });
        else {
          memo.begun.add(rec.shard);
          const put = rec.kind === "keyed" ? putKey(world, node, rec, until) : putOnce(world, node, rec, until);
          const done = yield* put;
          if (done !== AWAY) confirmAt(world, node, memo, rec.shard, typeof done === "number" ? done : done.epoch);
        }
        yield;
      }
    }
    yield* endUnseen(world, node);
  }
}

/** Up to when, or null: the ledger has it, or does not say. What was appended just now it cannot have had for long. */
function* mayPut(world: Context, node: Node, frame: Frame, rec: Rec, memo: Memo): Steps<number | null> {
  const { mix, rules } = world;
  if (!mix.retires || !rules.resendAsksFirst) return putUntil(world, world.wall);
  const until = putUntil(world, memo.at);
  if (world.wall <= until) return until;
  const since = world.wall;
  const ledger = yield* readLedger(world);
  if (ledger === AWAY) return null;
  if (!isIn(world, ledger.shards, rec)) return putUntil(world, since);
  sawVersion(node, rec.shard, ledger.shards[rec.shard]?.version ?? 0);
  confirm(node, frame, rec);
  return null;
}

/** Looks at the shard's head: a new epoch, a copy that is missing, unsettled or behind. */
function* watch(world: Context, node: Node, shard: number): Steps {
  const head = yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    if (isMissing(copy)) return copy;
    const { epoch, position, end, version } = copy.shard;
    return { epoch, settled: position >= end, version };
  });
  if (head === AWAY) return;
  if (typeof head === "string") return yield* renew(world, node, shard);
  if (head.epoch !== node.epochs[shard]) {
    node.epochs[shard] = head.epoch;
    if (world.rules.replay) {
      for (const memo of node.memo.values()) memo.put.delete(shard);
      moved(node, shard);
    }
  }
  if (!head.settled) yield* settle(world, node, shard);
  else if (world.random.chance(0.1) || head.version < (node.seenVersion[shard] ?? 0)) yield* repair(world, node, shard);
}

function* putTallies(
  world: Context,
  node: Node,
  rec: TallyRec,
  { frame, memo, until }: { frame: Frame; memo: Memo; until: number },
): Steps {
  const { rules } = world;
  const { shard } = rec;
  memo.begun.add(shard);
  if (!rules.sequenceFromAppend) moved(node, shard);
  const sequence = node.sequence[shard];
  const answer = yield* ask(
    world,
    node,
    (run) => {
      const copy = found(world, shard, run);
      if (isMissing(copy)) return copy;
      putGroup(copy, rec);
      return { ...versions(copy), values: [...rec.amounts.keys()].map((count) => shown(copy.shard, count)) };
    },
    until,
  );
  if (answer === AWAY) {
    if (!rules.unknownStaysOdd) confirm(node, frame, rec);
    return;
  }
  if (typeof answer === "string") return yield* renew(world, node, shard);
  if (memo.put.has(shard) || (rules.confirmEpoch && answer.epoch !== node.epochs[shard])) return;
  const isSame = sequence === node.sequence[shard];
  confirm(node, frame, rec);
  const isLast = (isSame && isQuiet(world, node, shard)) || !rules.answerOnlyIfLast;
  if (memo.isOld || !isLast || !isNew(world, node, shard, answer.version)) return;
  [...rec.notedAfter].forEach(([count, after], i) => {
    const base = answer.values[i];
    const included = rules.includedIsConfirmed ? (node.confirmed.get(count) ?? 0) : after;
    if (typeof base === "number") node.shown.set(count, { base, included });
  });
}

function versions(copy: Copy) {
  return { version: copy.shard.version, epoch: copy.shard.epoch };
}

/** No note of this node is between outbox and confirmed put. */
function isQuiet(world: Context, node: Node, shard: number): boolean {
  for (const [frame, memo] of node.memo) {
    if (memo.put.has(shard) || (memo.isOld && !world.rules.putBeforeShow)) continue;
    if (!world.rules.sequenceFromAppend && !memo.isOld && !memo.begun.has(shard)) continue;
    if (frame.records.some((rec) => rec.kind === "tally" && rec.shard === shard)) return false;
  }
  return true;
}

function isNew(world: Context, node: Node, shard: number, version: number): boolean {
  if (world.rules.seenVersion && version < (node.seenVersion[shard] ?? 0)) return false;
  sawVersion(node, shard, version);
  return true;
}

/** Reads R, count by count: what others have added. */
export function* refresher(world: Context, node: Node): Steps {
  while (true) {
    for (let wait = world.random.below(6); wait > 0; wait--) yield;
    yield;
    if (node.isListening) yield* refresh(world, node, world.random.pick(COUNTS));
  }
}

export function* refresh(world: Context, node: Node, count: string): Steps {
  const { rules } = world;
  const shard = shardOf(count);
  const sequence = node.sequence[shard];
  if (rules.noteSequence && !isQuiet(world, node, shard)) {
    if (world.redis.away) yield* fromLedger(world, node, count);
    return;
  }
  const included = node.confirmed.get(count) ?? 0;
  const read = yield* ask(world, node, (run) => {
    const copy = found(world, shard, run);
    return isMissing(copy) ? copy : { value: shown(copy.shard, count), version: copy.shard.version };
  });
  if (read === AWAY) {
    if (world.redis.away) yield* fromLedger(world, node, count);
    return;
  }
  if (typeof read === "string") return yield* renew(world, node, shard);
  if (read.value === null) return yield* load(world, node, count, shard);
  const isSame = sequence === node.sequence[shard] && isQuiet(world, node, shard);
  if (rules.noteSequence && !isSame) return;
  if (isNew(world, node, shard, read.version)) node.shown.set(count, { base: read.value, included });
  else yield* repair(world, node, shard);
}

/** Redis does not say: the ledger's number, and this node's own notes that it has not got. */
function* fromLedger(world: Context, node: Node, count: string): Steps {
  const shard = shardOf(count);
  const snapshot = yield* readLedger(world);
  for (let wait = world.random.below(20); wait > 0; wait--) yield;
  if (snapshot === AWAY) return;
  const state = snapshot.shards[shard];
  // Trimming raises `seenVersion`, so what the outbox no longer has is in this snapshot.
  if (!state || state.version < (node.seenVersion[shard] ?? 0)) return;
  let base = state.counts.get(count) ?? 0;
  if (world.rules.ledgerPlusOutbox)
    for (const { frame } of node.disk.outbox)
      for (const rec of frame.records)
        if (rec.kind === "tally" && !isIn(world, snapshot.shards, rec)) base += rec.amounts.get(count) ?? 0;
  const included = node.disk.table.get(count)?.noted ?? 0;
  const now = node.shown.get(count);
  if (now && world.rules.ledgerNeverLowers && now.base - now.included >= base - included) return;
  sawVersion(node, shard, state.version);
  node.shown.set(count, { base, included });
  // The first number while Redis is away may be lower than that of the node's last run.
  if (!now) world.shownAnew(node, count);
}
