import { countDelta } from "../arithmetic/register.ts";
import { type HybridClock, isActive, type Stamp, stampAt } from "../arithmetic/stamp.ts";
import { isSystemError, Problem } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { LogBroken, type LogWriter } from "../local/log.ts";
import type { Upload, Uploads } from "../local/uploads.ts";
import type { NumberedEvent } from "../ports/bulk.ts";
import type { Position } from "../ports/log.ts";
import { FrameWriter, NO_SLOT } from "../records.ts";
import type { PastChanges } from "../tallies/past-changes.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Holds } from "./holds.ts";
import { type OverlayWriter, RegisterKey } from "./overlay.ts";
import type { WriterLedger } from "./writer.ts";
import type { BulkOutcome } from "./writer-messages.ts";

/** What a record that is new changes, once it is durable. */
interface Change {
  event: NumberedEvent;
  slot: number;
  /** A relation's stamp before and after. */
  seen: Stamp;
  stamp: Stamp;
}

/**
 * The writer's way for the numbered events of a source: one frame for many. Like Writer, and in its thread: decides →
 * appends and waits for the disk → publishes → answers, all inside one enter/leave of the table, and none of it if a
 * counter is not loaded.
 *
 * Exactly once. The numbers in memory are those of the log: they move when a frame is durable, and the start reads them
 * from the ledger, which has all of the log then. So n ≤ last was logged and shown, and is skipped; and whoever sends the
 * same source meanwhile comes to this thread too. Killed between disk and answer, the start finds the frame's numbers in
 * the ledger. The ledger decides by the same numbers.
 */
export class BulkWriter {
  readonly #log: LogWriter;
  readonly #table: CounterTable;
  readonly #overlay: OverlayWriter;
  readonly #ledger: WriterLedger;
  readonly #clock: HybridClock;
  readonly #uploads: Uploads;
  readonly #holds: Holds;
  readonly #past: PastChanges;
  readonly #now: () => number;
  readonly #frame = new FrameWriter();
  readonly #key = new RegisterKey();
  /** Registers that this frame changes: neither in the overlay nor in the ledger yet. */
  readonly #pending = new Map<string, Stamp>();
  /** Why the disk refused the last frame, null where it took it. */
  trouble: string | null = null;

  constructor(parts: {
    log: LogWriter;
    table: CounterTable;
    overlay: OverlayWriter;
    ledger: WriterLedger;
    clock: HybridClock;
    uploads: Uploads;
    holds: Holds;
    past: PastChanges;
    now?: () => number;
  }) {
    this.#log = parts.log;
    this.#table = parts.table;
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#clock = parts.clock;
    this.#uploads = parts.uploads;
    this.#holds = parts.holds;
    this.#past = parts.past;
    this.#now = parts.now ?? Date.now;
  }

  /** Throws LogBroken when the process must end. */
  append(source: string, events: readonly NumberedEvent[]): BulkOutcome {
    if (this.#overlay.room() < events.length || this.#mustWait(events)) return "busy";
    const nowMs = this.#now();
    const upload = this.#uploads.of(source, nowMs);
    if (upload === null) return "refused";
    this.#table.enter();
    try {
      const changes = this.#decide(upload, events, nowMs);
      if (typeof changes === "string") return changes;
      if (changes.length === 0) return "done";
      fault("upload.decided");
      const end = this.#log.append(this.#frame.finish());
      this.trouble = null;
      fault("upload.appended");
      for (const { event } of changes) upload.last[event.shard] = event.n;
      upload.loggedMs = nowMs;
      for (const change of changes) this.#publish(change, end);
      fault("upload.published");
      return "done";
    } catch (error) {
      // A clock far behind, a ledger that cannot be read: nothing was appended.
      if (error instanceof Problem) return "refused";
      if (error instanceof LogBroken || !isSystemError(error)) throw error;
      this.trouble = error.message;
      return "refused";
    } finally {
      this.#table.leave();
      this.#pending.clear();
    }
  }

  /** An erasure or a merge is under way. */
  #mustWait(events: readonly NumberedEvent[]): boolean {
    if (this.#holds.isEmpty) return false;
    return events.some(({ subject, actor }) => this.#holds.holds(subject, { actor: () => actor }));
  }

  /** Fills the frame with the events that are new; or why it cannot be. */
  #decide(upload: Upload, events: readonly NumberedEvent[], nowMs: number): Change[] | BulkOutcome {
    const changes: Change[] = [];
    const last = upload.last.slice();
    this.#frame.begin(upload.name);
    for (const event of events) {
      const before = last[event.shard] as number;
      if (event.n <= before) continue;
      if (event.n > before + 1) return "gap";
      last[event.shard] = event.n;
      const change = { event, slot: -1, seen: 0, stamp: 0 };
      if (event.kind !== "void") {
        change.slot = this.#table.find(event.metric, event.subject);
        if (change.slot < 0 || !this.#table.isLoaded(change.slot)) return "not-loaded";
      }
      changes.push(change);
      if (event.kind === "relation") this.#relation(change, nowMs);
      else if (event.kind === "tally" && event.by > 0) this.#tally(event, nowMs);
      else this.#void(event);
    }
    return changes;
  }

  #tally({ shard, n, metric, subject, by, atMs }: NumberedEvent, nowMs: number): void {
    const head = { shard, n, metric, subject, once: undefined, past: atMs !== null };
    this.#frame.add({ kind: "tally", ...head, amount: by, atMs: atMs ?? nowMs, slot: NO_SLOT, notedAfter: 0 });
  }

  #void({ shard, n, metric, subject }: NumberedEvent): void {
    this.#frame.add({ kind: "void", shard, n, metric, subject, once: undefined });
  }

  #relation(change: Change, nowMs: number): void {
    const { event } = change;
    const { shard, n, metric, subject, actor, active, atMs } = event;
    const name = `${metric} ${subject}\n${actor}`;
    this.#key.set(subject, actor, this.#overlay.seed);
    const seen =
      this.#pending.get(name) ??
      (this.#overlay.find(metric, this.#key) || this.#ledger.register(metric, subject, actor));
    change.seen = seen;
    change.stamp = seen;
    const given = atMs === null ? null : stampAt(atMs, active);
    if (given === null ? isActive(seen) === active : given <= seen || given <= this.#ledger.floor(actor)) {
      this.#void(event);
      return;
    }
    change.stamp = given ?? this.#clock.stamp(nowMs, seen, active);
    this.#pending.set(name, change.stamp);
    const head = { shard, n, metric, subject, once: undefined, past: given !== null };
    this.#frame.add({ kind: "relation", ...head, actor, stamp: change.stamp });
  }

  #publish({ event, slot, seen, stamp }: Change, end: Position): void {
    const { kind, metric, subject, actor, by, atMs } = event;
    const delta = kind === "tally" ? by : kind === "relation" ? countDelta(seen, stamp) : 0;
    if (delta !== 0 && atMs !== null) {
      this.#past.tell(metric, subject, delta, () => this.#table.addToBase(slot, delta));
    } else if (delta !== 0) this.#table.addToBase(slot, delta);
    if (stamp === seen) return;
    this.#key.set(subject, actor, this.#overlay.seed);
    this.#overlay.put(metric, this.#key, 0, stamp, end);
  }
}
