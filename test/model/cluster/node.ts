import {
  COUNTS,
  type Context,
  countsOf,
  type Disk,
  type Entry,
  type Frame,
  isIn,
  lastIn,
  type Memo,
  type Node,
  type Rec,
  SHARDS,
  type Steps,
  type TallyRec,
} from "./state.ts";
import { AWAY, readEnd, readLedger, type Snapshot, send, write } from "./stores.ts";

const LONG_AGO = Number.NEGATIVE_INFINITY;

/* A node's disk and what leaves it: counter table, outbox, shipping to Kafka, trimming, sending again. */

export function emptyDisk(): Disk {
  const rows = { rows: new Set<string>(), unseenRows: new Set<string>() };
  return { outbox: [], table: new Map(), tableSource: "", ...rows, numbers: new Map(), versions: [] };
}

export function newNode(index: number, disk: Disk): Node {
  return {
    index,
    life: 0,
    disk,
    isListening: false,
    isCut: false,
    isBlind: false,
    isToldOf: false,
    row: null,
    unseenRow: null,
    conn: 0,
    memo: new Map(),
    epochs: [],
    seenVersion: [],
    sequence: [],
    shown: new Map(),
    confirmed: new Map(),
    clock: 0,
    last: new Map(),
    oldEnd: 0,
  };
}

/** Memory is gone; what the outbox has is old. */
export function restart(world: Context, node: Node): void {
  const { disk, index, life } = node;
  Object.assign(node, newNode(index, disk), { life: life + 1 });
  for (let shard = 0; shard < SHARDS; shard++) {
    node.epochs.push(null);
    node.seenVersion.push(world.rules.versionsKept ? (disk.versions[shard] ?? 0) : 0);
    node.sequence.push(0);
  }
  if (!world.rules.shipAtStart) disk.outbox = [];
  if (!world.rules.oldSpoolUntilShipped) forget(world.ledger.spools, [...disk.rows]);
  for (const { frame } of disk.outbox)
    node.memo.set(frame, { offset: null, isOld: true, put: new Set(), begun: new Set(), isBusy: false, at: LONG_AGO });
}

/** The flush that the last run owed, under its source; then an empty table of a new one. Each step may be the last. */
export function* boot(world: Context, node: Node): Steps {
  const { disk } = node;
  yield;
  const ledger = world.rules.numbersKept ? AWAY : yield* readLedger(world);
  for (let shard = 0; shard < SHARDS; shard++) {
    const name = `${disk.tableSource}:${shard}`;
    let last = disk.numbers.get(name) ?? 0;
    if (ledger !== AWAY) last = Math.max(last, lastIn(ledger.shards[shard], disk.tableSource));
    for (const { frame } of disk.outbox)
      for (const rec of frame.records)
        if (rec.shard === shard && rec.source === disk.tableSource) last = Math.max(last, rec.n);
    node.last.set(name, last);
  }
  const frame = note(world, node, disk.tableSource);
  if (frame) {
    (node.memo.get(frame) as Memo).isOld = true;
    yield;
  }
  sync(disk.outbox);
  disk.table = new Map(COUNTS.map((count) => [count, { adds: 0, noted: 0 }]));
  disk.tableSource = `${node.index}.${node.life}n`;
  yield;
  node.isListening = true;
}

// ---- outbox

export function append(world: Context, node: Node, frame: Frame): Memo {
  node.disk.outbox.push({ frame, synced: false, claimed: false });
  const memo: Memo = { offset: null, isOld: false, put: new Set(), begun: new Set(), isBusy: false, at: world.wall };
  node.memo.set(frame, memo);
  for (const rec of frame.records) {
    world.newRecord(rec);
    if (rec.kind === "tally" && world.rules.sequenceFromAppend) moved(node, rec.shard);
  }
  return memo;
}

export function nextNumber(node: Node, source: string, shard: number, by = 1): number {
  const name = `${source}:${shard}`;
  const n = (node.last.get(name) ?? 0) + by;
  node.last.set(name, n);
  return n;
}

/** Something about this node's notes of the shard has changed: what was read before says nothing. */
export function moved(node: Node, shard: number): void {
  node.sequence[shard] = (node.sequence[shard] ?? 0) + 1;
}

/** Notes what the table owes, as one frame: one step. */
export function note(world: Context, node: Node, source: string): Frame | null {
  const records: Rec[] = [];
  for (let shard = 0; shard < SHARDS; shard++) {
    const amounts = new Map<string, number>();
    const notedAfter = new Map<string, number>();
    for (const count of countsOf(shard)) {
      const slot = node.disk.table.get(count);
      if (!slot || slot.adds === slot.noted) continue;
      amounts.set(count, slot.adds - slot.noted);
      notedAfter.set(count, slot.adds);
      slot.noted = slot.adds;
    }
    if (amounts.size === 0) continue;
    const n = nextNumber(node, source, shard, amounts.size);
    records.push({ kind: "tally", source, shard, n, from: n - amounts.size + 1, amounts, notedAfter });
  }
  if (records.length === 0) return null;
  const frame = { source, records };
  append(world, node, frame);
  return frame;
}

export function* flusher(world: Context, node: Node): Steps {
  while (true) {
    for (let wait = world.random.below(14); wait > 0; wait--) yield;
    if (node.isListening) note(world, node, node.disk.tableSource);
    yield;
  }
}

/** Kafka has it, or the disk for sure. */
export function isDurable(node: Node, entry: Entry): boolean {
  return entry.claimed || isAcked(node, entry);
}

export function isAcked(node: Node, entry: Entry): boolean {
  return (node.memo.get(entry.frame)?.offset ?? null) !== null;
}

/** Outbox → Kafka, in order, one send under way. Without an answer: fsync, and the same again. */
export function* shipper(world: Context, node: Node): Steps {
  const { outbox } = node.disk;
  while (true) {
    yield;
    const entry = outbox.find((one) => !isAcked(node, one));
    const memo = entry && node.memo.get(entry.frame);
    if (!entry || !memo) {
      yield* endSpool(world, node);
      continue;
    }
    const offset = yield* send(world, node, messagesOf(world, entry.frame));
    if (offset !== AWAY) memo.offset = offset;
    else {
      if (!world.rules.resendUnknown) memo.offset = world.kafka.log.length;
      const written = [...outbox];
      yield;
      if (world.rules.syncBeforeAnswer) sync(written);
      else entry.claimed = true;
      yield* tellSpool(world, node);
      if (world.rules.spoolUntilShipped) continue;
      yield* endSpool(world, node);
      node.isToldOf = true;
    }
  }
}

/** Whoever wants to know the log's end finds this node's spool in the ledger, from the first 200 until Kafka has it all. */
function* tellSpool(world: Context, node: Node): Steps {
  const { ledger, rules } = world;
  if (node.isToldOf) return;
  const row = node.row ?? (rules.spoolRowsAnew ? `row ${++world.rows}` : `node ${node.index}`);
  node.row = row;
  node.disk.rows.add(row);
  const answer = yield* write(world, () => rules.spoolTold && ledger.spools.add(row));
  if (answer !== AWAY) node.isToldOf = true;
}

/** Kafka has everything: those rows that this run wrote go, and those that an earlier one left. */
function* endSpool(world: Context, node: Node): Steps {
  const { disk } = node;
  const over = [...disk.rows];
  if (over.length === 0) return;
  node.isToldOf = false;
  node.row = null;
  const answer = yield* write(world, () => forget(world.ledger.spools, over));
  if (answer !== AWAY) forget(disk.rows, over);
}

/** Before an act is answered that no copy shows: whoever would find nothing to do on any register asks for that. */
export function* tellUnseen(world: Context, node: Node): Steps {
  const { ledger, rules } = world;
  const isSpooled = () => node.disk.outbox.some((entry) => !isAcked(node, entry));
  for (let tries = 30; rules.unseenBehindSpool && isSpooled() && !node.isToldOf; tries--) {
    if (tries <= 0 && ledger.away) return;
    yield;
  }
  const row = node.unseenRow ?? `unseen ${++world.rows}`;
  node.unseenRow = row;
  node.disk.unseenRows.add(row);
  yield* write(world, () => rules.unseenTold && ledger.unseen.add(row));
}

/** Redis has all acts of the outbox, or the ledger. */
export function* endUnseen(world: Context, node: Node): Steps {
  const { disk, memo } = node;
  const over = [...disk.unseenRows];
  const isShown = (entry: Entry) => {
    return entry.frame.records.every((rec) => rec.kind !== "relation" || memo.get(entry.frame)?.put.has(rec.shard));
  };
  if (over.length === 0 || (world.rules.unseenUntilPut && !disk.outbox.every(isShown))) return;
  node.unseenRow = null;
  const answer = yield* write(world, () => forget(world.ledger.unseen, over));
  if (answer !== AWAY) forget(disk.unseenRows, over);
}

function forget(rows: Set<string>, over: readonly string[]): void {
  for (const row of over) rows.delete(row);
}

function sync(entries: Entry[]): void {
  for (const entry of entries) {
    entry.synced = true;
    entry.claimed = true;
  }
}

function messagesOf(world: Context, frame: Frame): Frame[] {
  const { source } = frame;
  if (world.rules.wholeGroups || !frame.records.some((rec) => rec.kind === "tally")) return [frame];
  return frame.records.flatMap((rec) => splitGroup(rec as TallyRec).map((part) => ({ source, records: [part] })));
}

function splitGroup(rec: TallyRec): TallyRec[] {
  return [...rec.amounts].map(([count, amount], i) => ({
    ...rec,
    from: rec.from + i,
    n: rec.from + i,
    amounts: new Map([[count, amount]]),
  }));
}

/** Trims what the ledger has, and finds out what the log has lost. */
export function* keeper(world: Context, node: Node): Steps {
  const { outbox } = node.disk;
  while (true) {
    yield;
    const sent = outbox.map((entry) => ({ entry, offset: node.memo.get(entry.frame)?.offset ?? null }));
    const ledger = yield* readLedger(world);
    const end = yield* readEnd(world);
    if (end !== AWAY) node.oldEnd = end;
    for (const { entry, offset } of sent) {
      if (offset === null || node.memo.get(entry.frame)?.offset !== offset) continue;
      if (ledger === AWAY || entry.frame.records.every((rec) => isIn(world, ledger.shards, rec))) continue;
      const isPassed = world.rules.resendPassed && ledger.position > offset;
      const isCut = world.rules.resendTruncated && end !== AWAY && end <= offset;
      if (isPassed || isCut) {
        sendAgainFrom(node, entry);
        break;
      }
    }
    if (ledger !== AWAY) trim(world, node, ledger);
  }
}

function sendAgainFrom(node: Node, from: Entry): void {
  const { outbox } = node.disk;
  for (const { frame } of outbox.slice(outbox.indexOf(from))) {
    const memo = node.memo.get(frame);
    if (memo) memo.offset = null;
  }
}

function trim(world: Context, node: Node, ledger: Snapshot): void {
  const { outbox, numbers } = node.disk;
  for (let entry = outbox[0]; entry; entry = outbox[0]) {
    const { records } = entry.frame;
    const hasAll = records.every((rec) => isIn(world, ledger.shards, rec));
    if (!hasAll && (world.rules.trimBehindLedger || !isAcked(node, entry))) return;
    for (const rec of records) {
      if (world.rules.numbersKept) numbers.set(`${rec.source}:${rec.shard}`, rec.n);
      // In the ledger is as good as put, as long as nothing is read from an older version.
      sawVersion(node, rec.shard, ledger.shards[rec.shard]?.version ?? 0);
      confirm(node, entry.frame, rec);
    }
    node.memo.delete(entry.frame);
    outbox.shift();
  }
}

/** Kept in the table's file, so that the next run does not show less either. */
export function sawVersion(node: Node, shard: number, version: number): void {
  node.seenVersion[shard] = Math.max(version, node.seenVersion[shard] ?? 0);
  node.disk.versions[shard] = Math.max(version, node.disk.versions[shard] ?? 0);
}

/** Redis (at any version at or above `seenVersion`) is known to have this record. */
export function confirm(node: Node, frame: Frame, rec: Rec): void {
  const memo = node.memo.get(frame);
  if (!memo || memo.put.has(rec.shard)) return;
  memo.put.add(rec.shard);
  if (rec.kind !== "tally") return;
  moved(node, rec.shard);
  if (memo.isOld) return;
  for (const [count, after] of rec.notedAfter)
    node.confirmed.set(count, Math.max(after, node.confirmed.get(count) ?? 0));
}

/** What the node would say of a count now; null: it does not know. */
export function shownBy(node: Node, count: string): number | null {
  const shown = node.shown.get(count);
  const slot = node.disk.table.get(count);
  return shown && slot && node.isListening ? shown.base + slot.adds - shown.included : null;
}
