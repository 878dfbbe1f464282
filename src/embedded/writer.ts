import { countDelta } from "../arithmetic/register.ts";
import { SHARDS } from "../arithmetic/shard.ts";
import { type HybridClock, isActive, type Stamp, stampAt } from "../arithmetic/stamp.ts";
import { isSystemError, Problem } from "../errors.ts";
import { copyBytes } from "../lib/bytes.ts";
import { fault, wallMs } from "../lib/fault.ts";
import { ACT_WAIT_MS_MAX, BATCH_ACTS_MAX } from "../limits.ts";
import type { LogWriter } from "../local/log.ts";
import type { OnceKeys } from "../local/once-keys.ts";
import { COUNT_MAX } from "../model.ts";
import type { Position } from "../ports/log.ts";
import { FrameWriter, NO_SLOT, type RecordOnce } from "../records.ts";
import type { CounterTable } from "../tallies/table.ts";
import {
  type Act,
  type ActReceiver,
  CHANGED,
  CLAIM,
  DONE,
  HELD,
  KEY_REUSED,
  NOT_LOADED,
  REFUSED,
  RELATE,
  type ReplyStatus,
  TOO_MUCH,
  VISIT,
  VISITORS,
} from "./acts.ts";
import type { Bases } from "./bases.ts";
import type { Holds } from "./holds.ts";
import { type OverlayWriter, RegisterKey } from "./overlay.ts";
import { rankIn, type Visit, type Visits } from "./visits.ts";

/** What the writer asks of the ledger: registers that are not on their way. */
export interface WriterLedger {
  register(metric: number, subject: string, actor: string): Stamp;
  /** What the actor did up to this stamp is erased. */
  floor(actor: string): Stamp;
}

/** One act of a batch between its decision and its answer. */
interface Decided {
  receiver: ActReceiver;
  id: number;
  kind: number;
  status: ReplyStatus;
  metric: number;
  subject: string;
  /** The counter's, its own until the writer leaves the table. */
  slot: number;
  key: RegisterKey | null;
  /** A relation's stamp before and after; equal where nothing changes. */
  seen: Stamp;
  stamp: Stamp;
  /** What a keyed tally adds. */
  by: number;
  /** It brings a time of its own. */
  isPast: boolean;
  visit: Visit | null;
}

/**
 * The only one who numbers and stamps. Takes what has gathered while the last frame was on its way to the disk (group
 * commit), and for the whole batch: decides → appends one frame and waits for the disk → publishes → answers.
 *
 * Why the order. Nothing is shown before it is durable, so no reader can build on what a power cut takes back; and nothing
 * is answered before it is shown, so every later read, on any thread, has it. The counter's slot is found and known to be
 * loaded *before* the append, inside the writer's own enter/leave of the table: a slot that is not loaded has nothing in
 * the log that the ledger lacks, which is what makes loading it right (tallies/table.ts), and a slot that was found stays
 * the counter's while the writer is inside.
 *
 * Two acts of one batch on one register: the second must see the first, which is neither in the overlay nor in the ledger
 * yet; `#pending` has it. The keys of a batch are remembered at once, and forgotten where its append fails.
 */
export class Writer {
  readonly clock: HybridClock;
  readonly #log: LogWriter;
  readonly #table: CounterTable;
  readonly #overlay: OverlayWriter;
  readonly #ledger: WriterLedger;
  readonly #keys: OnceKeys;
  readonly #holds: Holds;
  readonly #visits: Visits;
  readonly #bases: Bases;
  readonly #source: string;
  readonly #last = new Float64Array(SHARDS);
  readonly #frame = new FrameWriter();
  readonly #batch: Decided[] = [];
  readonly #pending = new Map<number, Decided>();
  /** Keys are reused from batch to batch: an act costs no allocation but its strings. */
  readonly #registerKeys: RegisterKey[] = [];
  /** Whose acts are taken first: in turn, so that one who fills every batch keeps nobody else waiting. */
  #first = 0;

  constructor(parts: {
    log: LogWriter;
    table: CounterTable;
    overlay: OverlayWriter;
    ledger: WriterLedger;
    keys: OnceKeys;
    holds: Holds;
    visits: Visits;
    bases: Bases;
    source: string;
    clock: HybridClock;
  }) {
    this.#log = parts.log;
    this.#table = parts.table;
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#keys = parts.keys;
    this.#holds = parts.holds;
    this.#visits = parts.visits;
    this.#bases = parts.bases;
    this.#source = parts.source;
    this.clock = parts.clock;
  }

  /** One batch from all rings; how many acts it held. Throws LogBroken when the process must end. */
  run(receivers: readonly ActReceiver[]): number {
    const hasRoom = this.#overlay.room() >= BATCH_ACTS_MAX;
    this.#table.enter();
    try {
      this.#visits.begin();
      this.#frame.begin(this.#source);
      for (let i = 0; i < receivers.length; i++) {
        this.#gather(receivers[(this.#first + i) % receivers.length] as ActReceiver, hasRoom);
      }
      this.#first = (this.#first + 1) % Math.max(1, receivers.length);
      if (this.#batch.length === 0) return 0;
      fault("writer.decided");
      const end = this.#append();
      fault("writer.appended");
      for (const decided of this.#batch) this.#publish(decided, end);
      fault("writer.published");
      return this.#batch.length;
    } finally {
      this.#table.leave();
      this.#batch.length = 0;
      this.#pending.clear();
      for (const receiver of receivers) receiver.release();
    }
  }

  /** Acts that have waited too long are refused, so that whoever was told "not done" can rely on it; without room, only they. */
  #gather(receiver: ActReceiver, hasRoom: boolean): void {
    const act = receiver.act;
    const nowMs = Date.now();
    while (this.#batch.length < BATCH_ACTS_MAX) {
      const waitedMs = receiver.nextWaits(nowMs);
      const isStale = waitedMs > ACT_WAIT_MS_MAX;
      if (waitedMs < 0 || !(hasRoom || isStale)) return;
      receiver.next();
      const decided: Decided = {
        receiver,
        id: act.id,
        kind: act.kind,
        status: DONE,
        metric: act.metric,
        subject: act.subject(),
        slot: -1,
        key: null,
        seen: 0,
        stamp: 0,
        by: 0,
        isPast: act.timed,
        visit: null,
      };
      this.#batch.push(decided);
      if (isStale) {
        decided.status = REFUSED;
        continue;
      }
      try {
        this.#decide(act, decided);
      } catch (error) {
        // A clock far behind, or a ledger that cannot be read: this act is refused, the others go on.
        if (!(error instanceof Problem || isSystemError(error))) throw error;
        decided.status = REFUSED;
      }
    }
  }

  #decide(act: Act, decided: Decided): void {
    const isClaim = act.kind === CLAIM;
    if (!isClaim && !this.#holds.isEmpty && this.#holds.holds(decided.subject, act)) {
      decided.status = HELD;
      return;
    }
    if (act.kind === VISITORS) return;
    if (act.kind === VISIT) {
      this.#decideVisit(act, decided);
      return;
    }
    if (!isClaim) {
      decided.slot = this.#table.find(act.metric, decided.subject);
      if (decided.slot < 0 || !this.#table.isLoaded(decided.slot)) {
        decided.status = NOT_LOADED;
        return;
      }
    }
    const nowMs = wallMs();
    const named = act.once();
    const once = named && { ...named, atMs: nowMs };
    const known = once ? this.#keys.look(once, nowMs) : "new";
    if (known === "other-body" || (once && known === "new" && !this.#keys.room(nowMs))) {
      decided.status = known === "new" ? REFUSED : KEY_REUSED;
      return;
    }
    const records = this.#frame.count;
    const fresh = known === "new" ? once : undefined;
    if (act.kind === RELATE) this.#decideRelation(act, decided, { nowMs, isRepeat: known === "repeat", once: fresh });
    else if (known === "new") {
      if (this.#table.shown(decided.slot) + act.by > COUNT_MAX) decided.status = TOO_MUCH;
      else if (act.actorBytes > 0) this.#decideVisit(act, decided);
      if (decided.status === DONE) this.#decideTally(act, decided, act.atMs() ?? nowMs, fresh);
    }
    if (fresh && this.#frame.count > records) this.#keys.remember(fresh);
  }

  #decideRelation(
    act: Act,
    decided: Decided,
    how: { nowMs: number; isRepeat: boolean; once: RecordOnce | undefined },
  ): void {
    const { nowMs, isRepeat, once } = how;
    const key = this.#registerKeys[this.#batch.length - 1] ?? new RegisterKey();
    this.#registerKeys[this.#batch.length - 1] = key;
    key.subjectBytes = act.subjectBytes;
    key.actorBytes = act.actorBytes;
    key.subjectHash = act.subjectHash;
    key.actorHash = act.actorHash;
    copyBytes(act.bytes, act.idsAt, key.bytes, 0, act.subjectBytes + act.actorBytes);

    const hash = Math.imul(key.subjectHash, 31) ^ key.actorHash ^ act.metric;
    const earlier = this.#pending.get(hash);
    decided.seen = earlier && sameRegister(earlier, decided, key) ? earlier.stamp : this.#look(act, decided, key);
    decided.stamp = decided.seen;
    const atMs = act.atMs();
    // One with a time of its own has its stamp: what is there stays if it is newer. The clock knows nothing of it.
    const given = atMs === undefined ? null : stampAt(atMs, act.active);
    const changes =
      !isRepeat && (given === null ? isActive(decided.seen) !== act.active : this.#wins(given, act, decided));
    // A key is recorded although nothing changes: like again (key k), unlike, then k repeated must not like once more.
    if (!changes && !once) return;
    if (earlier && !sameRegister(earlier, decided, key)) {
      // `#pending` holds one register of each hash: the other one's turn comes with the next batch.
      decided.status = NOT_LOADED;
      return;
    }
    if (changes) decided.stamp = given ?? this.clock.stamp(nowMs, decided.seen, act.active);
    decided.key = key;
    const n = this.#number(act.shard);
    const head = { shard: act.shard, n, metric: act.metric, once, past: act.timed };
    this.#frame.relation(head, decided.stamp, key.bytes, 0, key.subjectBytes, key.actorBytes);
    this.#pending.set(hash, decided);
  }

  /** Newer than what is there, and than the actor's erasure. */
  #wins(given: Stamp, act: Act, decided: Decided): boolean {
    return given > decided.seen && given > this.#ledger.floor(act.actor());
  }

  #look(act: Act, decided: Decided, key: RegisterKey): Stamp {
    return this.#overlay.find(act.metric, key) || this.#ledger.register(act.metric, decided.subject, act.actor());
  }

  #decideTally(act: Act, decided: Decided, atMs: number, once: RecordOnce | undefined): void {
    decided.by = act.by;
    const { shard, metric } = act;
    const head = { shard, n: this.#number(shard), metric, subject: decided.subject, once, past: act.timed };
    this.#frame.add(
      act.by === 0
        ? { kind: "void", ...head }
        : { kind: "tally", ...head, amount: act.by, atMs, slot: NO_SLOT, notedAfter: 0 },
    );
  }

  #decideVisit(act: Act, decided: Decided): void {
    const visit = this.#visits.decide(act.metric, decided.subject, act.visitor(), act.atMs());
    decided.visit = visit;
    if (!visit) decided.status = REFUSED;
    else if (visit.isNew) {
      const { shard } = act;
      this.#frame.add({ ...this.#visits.record(visit), shard, n: this.#number(shard) });
    }
  }

  #number(shard: number): number {
    const n = (this.#last[shard] as number) + 1;
    this.#last[shard] = n;
    return n;
  }

  /** On the disk, or nothing of the batch happened: then its numbers are given back, so that no gap stays. */
  #append(): Position {
    if (this.#frame.count === 0) return this.#log.head;
    const before = this.#log.head;
    try {
      return this.#log.append(this.#frame.finish());
    } catch (error) {
      if (!isSystemError(error)) throw error;
      this.#takeBack();
      return before;
    }
  }

  #takeBack(): void {
    const { records } = this.#frame.read();
    for (const record of records) {
      this.#last[record.shard] = Math.min(this.#last[record.shard] as number, record.n - 1);
      if (record.once) this.#keys.forget(record.once);
    }
    for (const decided of this.#batch) {
      const isInLog = decided.kind === VISITORS || (decided.kind === VISIT && decided.visit?.isNew === false);
      if (decided.status === DONE && !isInLog) decided.status = REFUSED;
    }
  }

  #publish(decided: Decided, end: Position): void {
    const { receiver, id, metric, slot, seen, stamp } = decided;
    if (decided.status !== DONE) {
      receiver.reply(id, decided.status, 0, 0);
      return;
    }
    if (decided.visit) this.#visits.publish(decided.visit, end);
    if (decided.kind === VISIT || decided.kind === VISITORS) {
      this.#replyVisit(decided);
      return;
    }
    if (decided.kind === CLAIM) {
      receiver.reply(id, DONE, 0, 0);
      return;
    }
    const delta = countDelta(seen, stamp);
    const grown = decided.by > 0 ? decided.by : delta;
    this.#bases.move(slot, grown, decided);
    fault("writer.counted");
    if (decided.key && stamp !== seen) this.#overlay.put(metric, decided.key, stamp, end);
    fault("writer.shown");
    receiver.reply(id, delta !== 0 ? CHANGED : DONE, Math.min(this.#table.shown(slot), COUNT_MAX), stamp);
  }

  #replyVisit({ receiver, id, metric, subject, visit }: Decided): void {
    if (visit) {
      receiver.reply(id, DONE, rankIn(visit), 0);
      return;
    }
    const distinct = this.#visits.count(metric, subject);
    if (distinct) receiver.reply(id, DONE, distinct.today, distinct.all);
    else receiver.reply(id, REFUSED, 0, 0);
  }
}

function sameRegister(earlier: Decided, decided: Decided, key: RegisterKey): boolean {
  const other = earlier.key as RegisterKey;
  return (
    earlier.metric === decided.metric &&
    other.subjectBytes === key.subjectBytes &&
    other.actorBytes === key.actorBytes &&
    other.bytes.compare(key.bytes, 0, key.subjectBytes + key.actorBytes, 0, key.subjectBytes + key.actorBytes) === 0
  );
}
