import { SHARDS } from "../arithmetic/shard.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import type { HybridClock, Stamp } from "../arithmetic/stamp.ts";
import { isSystemError, Problem } from "../errors.ts";
import { fault, wallMs } from "../lib/fault.ts";
import type { LogWriter } from "../local/log.ts";
import type { OnceKeys } from "../local/once-keys.ts";
import { COUNT_MAX, type Subject } from "../model.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { Position } from "../ports/log.ts";
import { FrameWriter, type JobRecord, type RecordOnce, type SetRecord } from "../records.ts";
import type { CounterTable } from "../tallies/table.ts";
import { expectedCount } from "./expected.ts";
import type { Holds } from "./holds.ts";
import { type OverlayWriter, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";
import type { Visits } from "./visits.ts";

type Once = OnceKey | undefined;

/** What main asks of the writer for an administrator. All of it stands in the log as one record. */
export type WriterJob =
  | { kind: "set"; metric: number; subject: Subject; count: number; once: Once }
  | { kind: "erase-subject"; subject: Subject; metrics: number[]; once: Once }
  | { kind: "merge"; from: Subject; to: Subject; tallies: number[]; relations: number[]; once: Once }
  /** From now on the actor's acts wait. */
  | { kind: "hold-actor"; actor: string }
  | { kind: "erase-actor"; actor: string; once: Once }
  /** From now on acts on the subjects wait. */
  | { kind: "hold-subjects"; subjects: Subject[] }
  /** The ledger has the job: these counts are what it says now. */
  | { kind: "recount"; counts: [metric: number, subject: Subject][] }
  /** The ledger has the job, and all counts are right: what waited goes on. */
  | { kind: "release" };

export type JobReply =
  /** `counts`: what a set or a repeat shows, or what an erasure took away, by metric as asked. */
  | { status: "done"; counts: number[]; end: Position }
  | { status: "repeat"; counts: number[] }
  /** Some counter has left the table: load it and ask again. */
  | { status: "not-loaded" }
  | { status: "key-reused" }
  | { status: "too-high" }
  | { status: "refused"; detail: string };

/** What a record is without its number. */
type Unnumbered = Omit<SetRecord, "shard" | "n"> | DistributiveOmit<JobRecord, "shard" | "n">;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/**
 * The writer's part of sets, erasures and merges: one record each, under a source of its own, between two batches of acts.
 *
 * The counters concerned are in the table and loaded before the record is in the log, as with every act, so nobody loads a
 * count that the ledger is about to change. `logged` says what the log has of each, since main holds the flusher still
 * meanwhile: the base moves by exactly what the record will change, and what workers add at the same time counts on top.
 *
 *     main: notes what was added before, keeps other flushes away
 *     writer: logged = 1,000                       worker: adds 3, shows 1,003
 *     writer: record "erase" in the log, base − 1,000                shows 3: these are noted after the record
 */
export class WriterJobs {
  readonly #log: LogWriter;
  readonly #table: CounterTable;
  readonly #overlay: OverlayWriter;
  readonly #ledger: SqliteLedgerReader;
  readonly #keys: OnceKeys;
  readonly #clock: HybridClock;
  readonly #holds: Holds;
  readonly #visits: Visits;
  readonly #source: string;
  readonly #last = new Float64Array(SHARDS);
  readonly #frame = new FrameWriter();
  readonly #key = new RegisterKey();

  constructor(parts: {
    log: LogWriter;
    table: CounterTable;
    overlay: OverlayWriter;
    ledger: SqliteLedgerReader;
    keys: OnceKeys;
    clock: HybridClock;
    holds: Holds;
    visits: Visits;
    source: string;
  }) {
    this.#log = parts.log;
    this.#table = parts.table;
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#keys = parts.keys;
    this.#clock = parts.clock;
    this.#holds = parts.holds;
    this.#visits = parts.visits;
    this.#source = parts.source;
  }

  /** Throws what the disk says where it refused, with nothing done. */
  do(job: WriterJob): JobReply {
    this.#table.enter();
    try {
      return this.#do(job);
    } catch (error) {
      if (error instanceof Problem) return { status: "refused", detail: error.message };
      if (!isSystemError(error)) throw error;
      return { status: "refused", detail: `the log cannot be written: ${error.message}` };
    } finally {
      this.#table.leave();
    }
  }

  #do(job: WriterJob): JobReply {
    switch (job.kind) {
      case "set":
        return this.#set(job);
      case "erase-subject":
        return this.#eraseSubject(job);
      case "merge":
        return this.#merge(job);
      case "hold-actor":
        this.#holds.hold({ actors: [job.actor] });
        return { status: "done", counts: [], end: this.#log.head };
      case "hold-subjects":
        this.#holds.hold({ subjects: job.subjects });
        return { status: "done", counts: [], end: this.#log.head };
      case "erase-actor":
        return this.#eraseActor(job);
      case "recount":
        return this.#recount(job.counts);
      case "release":
        this.#holds.release();
        return { status: "done", counts: [], end: this.#log.head };
    }
  }

  #set({ metric, subject, count, once }: Extract<WriterJob, { kind: "set" }>): JobReply {
    const [slot] = this.#slots([[metric, subject]]) ?? [];
    if (slot === undefined) return { status: "not-loaded" };
    const nowMs = wallMs();
    const named = this.#named(once, nowMs);
    if (named === "repeat") return { status: "repeat", counts: [Math.min(this.#table.shown(slot), COUNT_MAX)] };
    if (typeof named === "string") return refusal(named);
    const end = this.#append({ kind: "set", metric, subject, count, atMs: nowMs, once: named });
    this.#table.addToBase(slot, count - this.#table.logged(slot));
    fault("admin.moved");
    return { status: "done", counts: [count], end };
  }

  #eraseSubject({ subject, metrics, once }: Extract<WriterJob, { kind: "erase-subject" }>): JobReply {
    const slots = this.#slots(metrics.map((metric) => [metric, subject]));
    if (!slots) return { status: "not-loaded" };
    const named = this.#named(once, wallMs());
    if (named === "repeat") return { status: "repeat", counts: metrics.map(() => 0) };
    if (typeof named === "string") return refusal(named);
    const counts = slots.map((slot) => this.#table.logged(slot));
    const end = this.#append({ kind: "erase", metric: 0, subject, actor: "", stamp: this.#stamp(), once: named });
    this.#hold([subject]);
    this.#overlay.seal();
    slots.forEach((slot, i) => {
      this.#table.addToBase(slot, -(counts[i] as number));
      fault("admin.moving");
    });
    return { status: "done", counts, end };
  }

  /** Relations on `to` are counted when the ledger has put both together; until then they show what they were. */
  #merge({ from, to, tallies, relations, once }: Extract<WriterJob, { kind: "merge" }>): JobReply {
    const given = this.#slots([...tallies, ...relations].map((metric) => [metric, from]));
    const taking = this.#slots([...tallies, ...relations].map((metric) => [metric, to]));
    if (!given || !taking) return { status: "not-loaded" };
    const named = this.#named(once, wallMs());
    if (named === "repeat") return { status: "repeat", counts: [] };
    if (typeof named === "string") return refusal(named);
    const counts = given.map((slot) => this.#table.logged(slot));
    const isTooHigh = tallies.some(
      (_, i) => (counts[i] as number) + this.#table.shown(taking[i] as number) > COUNT_MAX,
    );
    if (isTooHigh) return { status: "too-high" };
    const end = this.#append({ kind: "merge", metric: 0, subject: from, to, once: named });
    this.#hold([from, to]);
    this.#overlay.seal();
    given.forEach((slot, i) => {
      this.#table.addToBase(slot, -(counts[i] as number));
      if (i < tallies.length) this.#table.addToBase(taking[i] as number, counts[i] as number);
    });
    return { status: "done", counts, end };
  }

  #eraseActor({ actor, once }: Extract<WriterJob, { kind: "erase-actor" }>): JobReply {
    const named = this.#named(once, wallMs());
    if (named === "repeat") return { status: "repeat", counts: [] };
    if (typeof named === "string") return refusal(named);
    const end = this.#append({ kind: "erase", metric: 0, subject: "", actor, stamp: this.#stamp(), once: named });
    this.#overlay.seal();
    return { status: "done", counts: [], end };
  }

  /**
   * Nobody but the writer changes a relation's count, so what overlay and ledger say together is exact now, and saying it
   * twice is the same. One that is not in the table is loaded from a ledger that has the job: see jobs.ts.
   */
  #recount(counts: readonly [metric: number, subject: Subject][]): JobReply {
    const parts = { overlay: this.#overlay, ledger: this.#ledger, key: this.#key };
    for (const [metric, subject] of counts) {
      const slot = this.#table.find(metric, subject);
      if (slot >= 0) this.#table.setBase(slot, expectedCount(parts, metric, subject));
    }
    return { status: "done", counts: [], end: this.#log.head };
  }

  #hold(subjects: string[]): void {
    this.#holds.hold({ subjects });
    for (const subject of subjects) this.#visits.forget(subject);
  }

  /** The slots of counters, all loaded, or null. */
  #slots(counters: readonly (readonly [metric: number, subject: Subject])[]): number[] | null {
    const slots = counters.map(([metric, subject]) => this.#table.find(metric, subject));
    return slots.every((slot) => slot >= 0 && this.#table.isLoaded(slot)) ? slots : null;
  }

  /** The key as the record has it; a word where there is nothing to be recorded. */
  #named(once: Once, nowMs: number): RecordOnce | undefined | "repeat" | "other-body" | "full" {
    if (!once) return undefined;
    const known = this.#keys.look(once, nowMs);
    if (known !== "new") return known;
    return this.#keys.room(nowMs) ? { ...once, atMs: nowMs } : "full";
  }

  #stamp(): Stamp {
    return this.#clock.stamp(wallMs(), 0, false);
  }

  /** A frame of its own, on the disk; else nothing happened, and its number is given back by not being taken. */
  #append(record: Unnumbered): Position {
    const shard = shardOf(record.subject);
    const n = (this.#last[shard] as number) + 1;
    this.#frame.begin(this.#source);
    this.#frame.add({ ...record, shard, n });
    fault("admin.append");
    const end = this.#log.append(this.#frame.finish());
    fault("admin.appended");
    this.#last[shard] = n;
    if (record.once) this.#keys.remember(record.once);
    return end;
  }
}

function refusal(why: "other-body" | "full"): JobReply {
  if (why === "other-body") return { status: "key-reused" };
  return { status: "refused", detail: "too many Idempotency-Keys are remembered" };
}
