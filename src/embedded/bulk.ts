import { stampAt } from "../arithmetic/stamp.ts";
import { Problem, unavailable } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import { Questions } from "../lib/questions.ts";
import { ACT_WAIT_MS_MAX } from "../limits.ts";
import { recordOf } from "../local/event-record.ts";
import type { Subject } from "../model.ts";
import {
  type Bulk,
  claimName,
  type HotAdds,
  type NumberedEvent,
  type UploadClaim,
  type UploadSource,
} from "../ports/bulk.ts";
import type { OnceKey } from "../ports/counting.ts";
import { FrameWriter } from "../records.ts";
import type { Taken } from "./numbered.ts";
import type { BulkCommand, BulkReply } from "./writer-messages.ts";

const AGAIN_MS = 4;

/** What the rest of the worker does for it. */
interface BulkNeeds {
  adds: HotAdds;
  add(metric: number, subject: string, by: number): number | Promise<number>;
  claim(name: Subject, once: OnceKey): Promise<unknown>;
  /** Makes sure that the table has the counter, loaded; false where it has no room now, and main is asked to make some. */
  load(metric: number, subject: string): boolean;
  /** To the writer; it answers through `take`. */
  send(command: BulkCommand): void;
  press(): void;
}

/**
 * A worker's way to NumberedAppends. The writer logs nothing of counters that are not loaded, so they are loaded first, here, where
 * no act waits for that: as many events as the table has room for go together, and the others follow. The writer knows all
 * numbers, so where they are cut does not matter here.
 */
export class EmbeddedBulk implements Bulk {
  readonly adds: HotAdds;
  readonly isShown = true;
  readonly #needs: BulkNeeds;
  readonly #asked = new Questions<Taken | Float64Array>();
  readonly #frame = new FrameWriter();

  constructor(needs: BulkNeeds) {
    this.#needs = needs;
    this.adds = needs.adds;
  }

  add(metric: number, subject: string, by: number): void | Promise<void> {
    const count = this.#needs.add(metric, subject, by);
    if (typeof count !== "number") return count.then(() => undefined);
  }

  async claim(upload: string, once: OnceKey): Promise<UploadClaim> {
    await this.#needs.claim(claimName(upload), once);
    // The writer stamps by itself.
    return { isShown: true, began: async () => Date.now() };
  }

  async taken(source: string): Promise<Float64Array> {
    return (await this.#ask((id) => ({ id, source }))) as Float64Array;
  }

  async append({ source }: UploadSource, events: readonly NumberedEvent[]): Promise<boolean> {
    let deadline = performance.now() + ACT_WAIT_MS_MAX;
    for (let from = 0; from < events.length; ) {
      const to = this.#load(events, from);
      if (to > from && (await this.#send(source, events.slice(from, to)))) {
        from = to;
        deadline = performance.now() + ACT_WAIT_MS_MAX;
        continue;
      }
      if (performance.now() > deadline) throw unavailable("events could not be made durable in time; send them again");
      if (to === from) this.#needs.press();
      await Bun.sleep(AGAIN_MS);
    }
    return true;
  }

  /** The writer has answered. */
  take({ id, answer }: BulkReply): void {
    this.#asked.answer(id, answer);
  }

  /** Up to where the counters of `events` are loaded. */
  #load(events: readonly NumberedEvent[], from: number): number {
    for (let at = from; at < events.length; at++) {
      const { kind, metric, subject } = events[at] as NumberedEvent;
      if (kind !== "void" && !this.#needs.load(metric, subject)) return at;
    }
    return events.length;
  }

  /** False: not now, but soon. */
  async #send(source: string, events: NumberedEvent[]): Promise<boolean> {
    const frame = this.#frameOf(source, events);
    const { status } = (await this.#ask((id) => ({ id, frame }))) as Taken;
    if (status === "refused") throw unavailable("events could not be made durable; send them again");
    if (status === "wrong")
      throw new Problem("key-reused", "the Idempotency-Key was forgotten, as its upload took too long");
    return status === "taken";
  }

  #ask(command: (id: number) => BulkCommand): Promise<Taken | Float64Array> {
    return this.#asked.ask((id) => this.#needs.send(command(id)));
  }

  #frameOf(source: string, events: NumberedEvent[]): Uint8Array {
    const nowMs = wallMs();
    this.#frame.begin(source);
    for (const event of events) {
      const { kind, by, active, atMs } = event;
      const stamp = kind !== "relation" ? 0 : atMs === null ? Number(active) : stampAt(atMs, active);
      this.#frame.add(recordOf(kind === "tally" && by === 0 ? { ...event, kind: "void" } : event, stamp, nowMs));
    }
    return Uint8Array.from(this.#frame.finish());
  }
}
