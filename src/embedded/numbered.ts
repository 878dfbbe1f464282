import { countDelta } from "../arithmetic/register.ts";
import { decide } from "../arithmetic/source.ts";
import { type HybridClock, isActive, type Stamp } from "../arithmetic/stamp.ts";
import { isSystemError, Problem } from "../errors.ts";
import { fault, wallMs } from "../lib/fault.ts";
import type { LogWriter } from "../local/log.ts";
import type { Position } from "../ports/log.ts";
import { FrameWriter, type LogRecord, type RelationRecord } from "../records.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Bases } from "./bases.ts";
import type { Holds } from "./holds.ts";
import { type OverlayWriter, RegisterKey } from "./overlay.ts";
import type { Visit, Visits } from "./visits.ts";
import type { WriterLedger } from "./writer.ts";

/** What it asks of the ledger. */
export interface NumberedLedger extends WriterLedger {
  count(metric: number, subject: string): number;
  lastOf(source: string): Float64Array;
}

/** What the log has of a source that numbers its records itself. */
export interface NumberedSource {
  readonly name: string;
  /** By shard: the last number. */
  readonly last: Float64Array;
  /** Behind its last record, and when the log got it. */
  end: Position;
  loggedMs: number;
}

/**
 * Or nothing was taken. `full`: no room for its counters or registers, or an erasure or a merge of them is under way; `refused`:
 * the disk or the clock; `wrong`: numbers are missing before these, or they are none that come so.
 */
export type Taken = { status: "taken" | "full" } | { status: "refused" | "wrong"; why: string };

/** A record that is new. */
interface Change {
  record: LogRecord;
  /** Its counter's; -1: it has none. */
  slot: number;
  /** A relation's register before it, and what it sets it to; equal where nothing changes. */
  seen: Stamp;
  stamp: Stamp;
  visit: Visit | null;
}

const NONE = { slot: -1, seen: 0, stamp: 0, visit: null };

/**
 * Records that were numbered elsewhere: an import's, and those of a body of events with a key. Part of the log's writer, in its
 * thread, and like it decides → appends one frame and waits for the disk → publishes, all inside one enter/leave of the table.
 *
 * Exactly once. The numbers in a source's `last` are those of the log: they move when a frame is durable, and a start reads
 * them from the ledger, which has all of the log then. So n ≤ last was logged and shown, and is skipped; and whoever sends the
 * same source meanwhile comes to this thread too. Killed between disk and answer, the start finds the frame's numbers in
 * the ledger. The ledger decides by the same numbers.
 *
 * For the rest the writer's rules hold: no counter has anything in the log before it is loaded, so each that is not is loaded
 * here first; and since this is the only thread that logs relations, what it reads of a register is all there is. A relation
 * with a time of its own goes into the log although a newer one beats it: its number must come. One of now says with its
 * stamp's last bit what it wants, and gets a stamp here, or is void where it changes nothing.
 */
export class NumberedAppends {
  readonly #log: LogWriter;
  readonly #table: CounterTable;
  readonly #bases: Bases;
  readonly #overlay: OverlayWriter;
  readonly #ledger: NumberedLedger;
  readonly #clock: HybridClock;
  readonly #holds: Holds;
  readonly #visits: Visits;
  readonly #frame = new FrameWriter();
  readonly #key = new RegisterKey();
  /** Registers that this frame changes: neither in the overlay nor in the ledger yet. */
  readonly #pending = new Map<string, Stamp>();

  constructor(parts: {
    log: LogWriter;
    table: CounterTable;
    bases: Bases;
    overlay: OverlayWriter;
    ledger: NumberedLedger;
    clock: HybridClock;
    holds: Holds;
    visits: Visits;
  }) {
    this.#log = parts.log;
    this.#table = parts.table;
    this.#bases = parts.bases;
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#clock = parts.clock;
    this.#holds = parts.holds;
    this.#visits = parts.visits;
  }

  /** All of the records that were not taken before, or none. Throws LogBroken when the process must end. */
  append(source: NumberedSource, records: readonly LogRecord[]): Taken {
    const fresh = nextOf(source.last, records);
    if (typeof fresh === "string") return { status: "wrong", why: fresh };
    if (fresh.length === 0) return { status: "taken" };
    if (this.#overlay.room() < fresh.length || this.#mustWait(fresh)) return { status: "full" };
    this.#table.enter();
    try {
      const changes = this.#decide(fresh);
      if (!changes) return { status: "full" };
      this.#write(source, changes);
      return { status: "taken" };
    } catch (error) {
      // The disk is full, a clock is far behind, the ledger cannot be read: nothing was appended.
      if (error instanceof Problem || isSystemError(error)) return { status: "refused", why: error.message };
      throw error;
    } finally {
      this.#table.leave();
      this.#pending.clear();
    }
  }

  #write(source: NumberedSource, changes: readonly Change[]): void {
    this.#frame.begin(source.name);
    for (const { record } of changes) this.#frame.add(record);
    fault("numbered.decided");
    source.end = this.#log.append(this.#frame.finish());
    source.loggedMs = wallMs();
    for (const { record } of changes) source.last[record.shard] = record.n;
    fault("numbered.appended");
    this.#moveCounts(changes);
    for (const change of changes) this.#publish(change, source.end);
    fault("numbered.published");
  }

  #mustWait(records: readonly LogRecord[]): boolean {
    if (this.#holds.isEmpty) return false;
    return records.some((record) =>
      this.#holds.holds(record.subject, { actor: () => (record.kind === "relation" ? record.actor : "") }),
    );
  }

  /** Null where there is no room for a counter or a sketch. Both stay in memory until the frame is done. */
  #decide(records: readonly LogRecord[]): Change[] | null {
    this.#visits.begin();
    const changes: Change[] = [];
    for (const record of records) {
      const { kind, metric, subject } = record;
      const change: Change = { ...NONE, record };
      changes.push(change);
      if (kind === "visitor") {
        change.visit = this.#visits.decide(metric, subject, record.code, record.atMs);
        if (change.visit === null) return null;
      } else if (kind !== "void") {
        change.slot = this.#loaded(metric, subject);
        if (change.slot < 0) return null;
        if (kind === "relation") this.#relation(change, record);
      }
    }
    return changes;
  }

  /** The counter's slot, -1 where the table has no room. */
  #loaded(metric: number, subject: string): number {
    let slot = this.#table.find(metric, subject);
    if (slot < 0) slot = this.#table.claim(metric, subject);
    if (slot >= 0 && !this.#table.isLoaded(slot)) this.#table.install(slot, this.#ledger.count(metric, subject));
    return slot;
  }

  #relation(change: Change, record: RelationRecord): void {
    const { shard, n, metric, subject, actor, past } = record;
    const name = `${metric} ${subject}\n${actor}`;
    this.#key.set(subject, actor, this.#overlay.seed);
    const seen =
      this.#pending.get(name) ??
      (this.#overlay.find(metric, this.#key) || this.#ledger.register(metric, subject, actor));
    change.seen = seen;
    change.stamp = seen;
    if (past) {
      if (record.stamp <= seen || record.stamp <= this.#ledger.floor(actor)) return;
      change.stamp = record.stamp;
    } else if (isActive(record.stamp) === isActive(seen)) {
      change.record = { kind: "void", shard, n, metric, subject };
      return;
    } else {
      change.stamp = this.#clock.stamp(wallMs(), seen, isActive(record.stamp));
      change.record = { ...record, stamp: change.stamp };
    }
    this.#pending.set(name, change.stamp);
  }

  /** Each counter once: hours that took something away stand among the others. */
  #moveCounts(changes: readonly Change[]): void {
    const sums = new Map<number, { metric: number; subject: string; now: number; past: number }>();
    for (const { record, slot, seen, stamp } of changes) {
      if (record.kind !== "tally" && record.kind !== "relation") continue;
      const { metric, subject, past } = record;
      const sum = sums.get(slot) ?? { metric, subject, now: 0, past: 0 };
      sums.set(slot, sum);
      sum[past ? "past" : "now"] += record.kind === "tally" ? record.amount : countDelta(seen, stamp);
    }
    for (const [slot, { metric, subject, now, past }] of sums) {
      this.#bases.move(slot, now, { metric, subject, isPast: false });
      this.#bases.move(slot, past, { metric, subject, isPast: true });
    }
  }

  #publish({ record, seen, stamp, visit }: Change, end: Position): void {
    if (visit) this.#visits.publish(visit, end);
    if (record.kind !== "relation" || stamp === seen) return;
    this.#key.set(record.subject, record.actor, this.#overlay.seed);
    this.#overlay.put(record.metric, this.#key, stamp, end);
  }
}

/** Those that come next, or what is wrong with them. */
function nextOf(last: Float64Array, records: readonly LogRecord[]): LogRecord[] | string {
  const reached = last.slice();
  const next: LogRecord[] = [];
  for (const record of records) {
    const { shard, n, kind } = record;
    if (kind === "set" || kind === "erase" || kind === "merge") return `records of the kind ${kind} do not come so`;
    const before = reached[shard] as number;
    const decision = decide(before, n);
    if (decision === "gap") return `numbers of shard ${shard} are missing: ${n} follows ${before}`;
    if (decision === "skip") continue;
    reached[shard] = n;
    next.push(record);
  }
  return next;
}
