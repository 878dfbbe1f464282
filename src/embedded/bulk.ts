import { Problem, unavailable } from "../errors.ts";
import { ACT_WAIT_MS_MAX } from "../limits.ts";
import type { Metric, Subject } from "../model.ts";
import type { Bulk, HotAdds, NumberedEvent, UploadClaim, UploadSource } from "../ports/bulk.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { BulkCommand, BulkOutcome } from "./writer-messages.ts";

const AGAIN_MS = 4;

/** What the rest of the worker does for it. */
export interface BulkNeeds {
  adds: HotAdds;
  add(metric: number, subject: string, by: number): number | Promise<number>;
  addOnce(metric: Metric, subject: Subject, by: number, once: OnceKey): Promise<number>;
  /** Makes sure that the table has the counter, loaded; false where it has no room now, and main is asked to make some. */
  load(metric: number, subject: string): boolean;
  /** To the writer; it answers through `take`. */
  send(command: BulkCommand): void;
  press(): void;
}

/**
 * A worker's end of BulkWriter. The writer logs nothing of counters that are not loaded, so they are loaded first: as many
 * events as the table has room for go together, and the others follow. It knows all numbers, so where they are cut does not
 * matter here.
 */
export class EmbeddedBulk implements Bulk {
  readonly adds: HotAdds;
  readonly #needs: BulkNeeds;
  readonly #waiting = new Map<number, (outcome: BulkOutcome) => void>();
  #lastId = 0;

  constructor(needs: BulkNeeds) {
    this.#needs = needs;
    this.adds = needs.adds;
  }

  add(metric: number, subject: string, by: number): void | Promise<void> {
    const count = this.#needs.add(metric, subject, by);
    if (typeof count !== "number") return count.then(() => undefined);
  }

  async claim(metric: Metric, subject: Subject, once: OnceKey): Promise<UploadClaim> {
    await this.#needs.addOnce(metric, subject, 0, once);
    // The writer stamps by itself.
    return { isShown: true, began: async () => Date.now() };
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
  take({ id, outcome }: { id: number; outcome: BulkOutcome }): void {
    const resolve = this.#waiting.get(id);
    this.#waiting.delete(id);
    resolve?.(outcome);
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
    const id = ++this.#lastId;
    const { promise, resolve } = Promise.withResolvers<BulkOutcome>();
    this.#waiting.set(id, resolve);
    this.#needs.send({ id, source, events });
    const outcome = await promise;
    if (outcome === "refused") throw unavailable("events could not be made durable; send them again");
    if (outcome === "gap")
      throw new Problem("key-reused", "the Idempotency-Key was forgotten, as its upload took too long");
    return outcome === "done";
  }
}
