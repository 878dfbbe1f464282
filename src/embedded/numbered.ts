import { countDelta } from "../arithmetic/register.ts";
import { decide } from "../arithmetic/source.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import { isSystemError } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { LogBroken, type LogWriter } from "../local/log.ts";
import type { Position } from "../ports/log.ts";
import { FrameWriter, type LogRecord, type RelationRecord, readFrame } from "../records.ts";
import type { PastChanges } from "../tallies/past-changes.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Holds } from "./holds.ts";
import { type OverlayWriter, RegisterKey } from "./overlay.ts";
import type { Visit, Visits } from "./visits.ts";

/** What it asks of the ledger. */
export interface NumberedLedger {
  count(metric: number, subject: string): number;
  register(metric: number, subject: string, actor: string): Stamp;
  lastOf(source: string): Float64Array;
  /** What the actor did up to this stamp is erased. */
  floor(actor: string): Stamp;
}

/**
 * Or nothing was taken. `full`: no room for its counters or registers, or an erasure or a merge of them is under way; `refused`: the disk does
 * not take it; `wrong`: whoever numbered made a mistake.
 */
export type Taken =
  | { status: "taken"; end: Position }
  | { status: "full" }
  | { status: "refused" | "wrong"; why: string };

interface Source {
  last: Float64Array;
  /** Behind its last record. */
  end: Position;
}

/** Sources remembered although the ledger has all of them. */
const SOURCES_MAX = 64;

/**
 * Records that were numbered and stamped elsewhere: an import's. Part of the log's writer, and like it decides → appends and
 * waits for the disk → publishes.
 *
 * By the numbers nothing counts twice: what was taken before is left out here, so that it is not shown twice either, and by the
 * projector. For the rest the writer's rules hold: no counter has anything in the log before it is loaded, so each is loaded here
 * first; and since this is the only thread that logs relations, what it reads of a register is all there is. A record that is
 * beaten by a newer one goes into the log all the same: its number must come.
 *
 * What the log has of a source stands in `#sources`, or the ledger has all of it: a start begins with a ledger that is at the
 * log's end, and only then is a source forgotten.
 */
export class NumberedAppends {
  readonly #log: LogWriter;
  readonly #table: CounterTable;
  readonly #overlay: OverlayWriter;
  readonly #ledger: NumberedLedger;
  readonly #applied: () => Position;
  readonly #holds: Holds;
  readonly #visits: Visits;
  readonly #past: PastChanges;
  readonly #sources = new Map<string, Source>();
  readonly #frame = new FrameWriter();
  readonly #key = new RegisterKey();

  constructor(parts: {
    log: LogWriter;
    table: CounterTable;
    overlay: OverlayWriter;
    ledger: NumberedLedger;
    /** Up to where the ledger has the log. */
    applied: () => Position;
    holds: Holds;
    visits: Visits;
    past: PastChanges;
  }) {
    this.#log = parts.log;
    this.#table = parts.table;
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#applied = parts.applied;
    this.#holds = parts.holds;
    this.#visits = parts.visits;
    this.#past = parts.past;
  }

  /** The last number taken of each shard. */
  lastOf(source: string): Float64Array {
    return this.#source(source).last;
  }

  /** All of the frame's records that were not taken before, or none. */
  append(bytes: Uint8Array): Taken {
    const { source: name, records } = readFrame(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    const source = this.#source(name);
    const fresh = nextOf(source.last, records);
    if (typeof fresh === "string") return { status: "wrong", why: fresh };
    if (fresh.length === 0) return { status: "taken", end: source.end };
    if (this.#overlay.room() < fresh.length || this.#mustWait(fresh)) return { status: "full" };
    this.#table.enter();
    try {
      const slots = this.#load(fresh);
      const visits = slots && this.#visitsOf(fresh);
      if (!slots || !visits) return { status: "full" };
      return this.#write(name, source, fresh, { slots, visits });
    } finally {
      this.#table.leave();
    }
  }

  #write(
    name: string,
    source: Source,
    records: readonly LogRecord[],
    { slots, visits }: { slots: readonly number[]; visits: readonly Visit[] },
  ): Taken {
    const seen = this.#look(records);
    this.#frame.begin(name);
    for (const record of records) this.#frame.add(record);
    fault("import.decided");
    try {
      source.end = this.#log.append(this.#frame.finish());
    } catch (error) {
      if (error instanceof LogBroken || !isSystemError(error)) throw error;
      return { status: "refused", why: error.message };
    }
    for (const { shard, n } of records) source.last[shard] = n;
    fault("import.appended");
    this.#publishTallies(records, slots);
    for (const visit of visits) this.#visits.publish(visit, source.end);
    for (const [i, record] of records.entries())
      if (record.kind === "relation") this.#publish(record, slots[i] as number, seen[i] as Stamp, source.end);
    fault("import.published");
    return { status: "taken", end: source.end };
  }

  /** Each record's counter, loaded; null where the table has no room. They stay while we are inside. */
  #load(records: readonly LogRecord[]): number[] | null {
    const slots: number[] = [];
    for (const { kind, metric, subject } of records) {
      if (kind === "visitor") {
        slots.push(-1);
        continue;
      }
      let slot = this.#table.find(metric, subject);
      if (slot < 0) slot = this.#table.claim(metric, subject);
      if (slot < 0) return null;
      if (!this.#table.isLoaded(slot)) this.#table.install(slot, this.#ledger.count(metric, subject));
      slots.push(slot);
    }
    return slots;
  }

  /** Visitors and their sketches, which stay in memory until the next frame; null where there is no room for them. */
  #visitsOf(records: readonly LogRecord[]): Visit[] | null {
    this.#visits.begin();
    const visits: Visit[] = [];
    for (const record of records) {
      if (record.kind !== "visitor") continue;
      const visit = this.#visits.decide(record.metric, record.subject, record.code, record.atMs);
      if (visit === null) return null;
      visits.push(visit);
    }
    return visits;
  }

  #mustWait(records: readonly LogRecord[]): boolean {
    if (this.#holds.isEmpty) return false;
    return records.some((record) =>
      this.#holds.holds(record.subject, { actor: () => (record.kind === "relation" ? record.actor : "") }),
    );
  }

  /** The register under each relation's record, as the records before it leave it. */
  #look(records: readonly LogRecord[]): Stamp[] {
    const before = new Map<string, Stamp>();
    return records.map((record) => {
      if (record.kind !== "relation") return 0;
      const { metric, subject, actor, stamp } = record;
      const name = `${metric} ${subject}\n${actor}`;
      this.#key.set(subject, actor, this.#overlay.seed);
      const seen =
        before.get(name) ?? (this.#overlay.find(metric, this.#key) || this.#ledger.register(metric, subject, actor));
      before.set(name, stamp > this.#ledger.floor(actor) ? Math.max(seen, stamp) : seen);
      return seen;
    });
  }

  /** Each counter once: hours that took something away stand among the others. */
  #publishTallies(records: readonly LogRecord[], slots: readonly number[]): void {
    const sums = new Map<number, { record: LogRecord; sum: number }>();
    for (const [i, record] of records.entries()) {
      if (record.kind !== "tally") continue;
      const slot = slots[i] as number;
      const sum = (sums.get(slot)?.sum ?? 0) + record.amount;
      sums.set(slot, { record, sum });
    }
    for (const [slot, { record, sum }] of sums) this.#grow(record, slot, sum);
  }

  /** What is imported has happened long ago: streams do not tell it. */
  #grow({ metric, subject }: LogRecord, slot: number, delta: number): void {
    if (delta !== 0) this.#past.tell(metric, subject, delta, () => this.#table.addToBase(slot, delta));
  }

  #publish(record: RelationRecord, slot: number, seen: Stamp, end: Position): void {
    if (record.stamp <= seen || record.stamp <= this.#ledger.floor(record.actor)) return;
    const delta = countDelta(seen, record.stamp);
    this.#grow(record, slot, delta);
    this.#key.set(record.subject, record.actor, this.#overlay.seed);
    this.#overlay.put(record.metric, this.#key, 0, record.stamp, end);
  }

  #source(name: string): Source {
    let source = this.#sources.get(name);
    if (!source) {
      if (this.#sources.size >= SOURCES_MAX) this.#forget();
      source = { last: this.#ledger.lastOf(name), end: 0 };
      this.#sources.set(name, source);
    }
    return source;
  }

  #forget(): void {
    const applied = this.#applied();
    for (const [name, { end }] of this.#sources) if (end <= applied) this.#sources.delete(name);
  }
}

/** Those that come next, or what is wrong with them. */
function nextOf(last: Float64Array, records: readonly LogRecord[]): LogRecord[] | string {
  const at = new Map<number, number>();
  const next: LogRecord[] = [];
  for (const record of records) {
    const { shard, n, kind } = record;
    if (kind !== "tally" && kind !== "relation" && kind !== "visitor")
      return `records of the kind ${kind} do not come so`;
    const before = at.get(shard) ?? (last[shard] as number);
    const decision = decide(before, n);
    if (decision === "gap") return `numbers of shard ${shard} are missing: ${n} follows ${before}`;
    if (decision === "skip") continue;
    at.set(shard, n);
    next.push(record);
  }
  return next;
}
