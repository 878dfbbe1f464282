import { log } from "../../telemetry/log.ts";
import { reasonOf } from "./errors.ts";
import { type BadMessage, Gather, type GatherBounds, type Gathered, type LogMessage } from "./gather.ts";
import { Signal } from "./wait.ts";

/** What the projector throws for a message that it can never apply. The rest is applied without it. */
export class Poison extends Error {
  readonly partition: number;
  readonly offset: number;

  constructor(message: Pick<LogMessage, "partition" | "offset">, reason: string) {
    super(reason);
    this.name = "Poison";
    this.partition = message.partition;
    this.offset = message.offset;
  }
}

export interface ApplierHandlers {
  apply(messages: LogMessage[], positions: Map<number, number>): Promise<void>;
  /** Keeps what cannot be applied. Rejects where it could not be kept. */
  putAside(messages: readonly BadMessage[]): Promise<void>;
}

interface ApplierBounds extends GatherBounds {
  gatherMs: number;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;
const LOG_EVERY_MS = 10_000;

/**
 * Gathers what is read, and hands it to `apply`, one call after the other: the next is gathered meanwhile. What is
 * rejected is handed over again, the same, for as long as it takes; `drop` makes it forget what it has.
 */
export class Applier {
  readonly #handlers: ApplierHandlers;
  readonly #gatherMs: number;
  readonly #gather: Gather;
  readonly #changed = new Signal();
  readonly #room = new Signal();
  /** Ends the wait before a retry. */
  readonly #urgent = new Signal();
  readonly #work: Promise<void>;
  /** The one call that is under way. */
  #trying: Promise<void> | null = null;
  #dropped = 0;
  #isPaused = false;
  #isStopped = false;

  constructor(handlers: ApplierHandlers, bounds: ApplierBounds) {
    this.#handlers = handlers;
    this.#gatherMs = bounds.gatherMs;
    this.#gather = new Gather(bounds);
    this.#work = this.#run();
  }

  get isFull(): boolean {
    return this.#gather.isFull;
  }

  /** Until there may be room again, or for `ms`. */
  room(ms: number): Promise<void> {
    return this.#room.wait(ms);
  }

  add(partition: number, messages: Iterable<{ offset: string; value: Buffer | null }>, next: number): void {
    for (const { offset, value } of messages) this.#gather.add(partition, Number(offset), value);
    this.moveTo(partition, next);
  }

  moveTo(partition: number, position: number): void {
    this.#gather.moveTo(partition, position);
    this.#changed.fire();
  }

  /** Forgets what was gathered, and what is retried. Resolves when nothing is in `apply` any more. */
  async drop(): Promise<void> {
    this.#dropped++;
    this.#gather.clear();
    this.#room.fire();
    this.#urgent.fire();
    await this.#trying;
  }

  /** Nothing goes to `apply` until `resume`. Resolves when nothing is in it any more. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#trying;
  }

  resume(): void {
    this.#isPaused = false;
    this.#changed.fire();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#changed.fire();
    await this.drop();
    await this.#work;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      if (this.#isPaused || this.#gather.isEmpty) {
        await this.#changed.wait();
        continue;
      }
      const leftMs = this.#gather.sinceMs + this.#gatherMs - performance.now();
      if (!this.#gather.isFull && leftMs > 0) {
        await this.#changed.wait(leftMs);
        continue;
      }
      const gathered = this.#gather.take();
      this.#room.fire();
      await this.#finish(gathered);
    }
  }

  async #finish(gathered: Gathered): Promise<void> {
    const dropped = this.#dropped;
    let retryMs = RETRY_MS_MIN;
    while (dropped === this.#dropped && !this.#isStopped) {
      if (this.#isPaused) {
        await this.#changed.wait();
        continue;
      }
      const problem = await this.#try(gathered);
      if (problem === null) return;
      if (problem instanceof Poison && takeOut(gathered, problem)) continue;
      const fields = { part: "kafka", reason: reasonOf(problem), retryMs };
      log.limited("log apply", LOG_EVERY_MS).warn("what was read from the log cannot be applied now", fields);
      await this.#urgent.wait(retryMs);
      retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
    }
  }

  /** Null when it is done, else why not. */
  async #try(gathered: Gathered): Promise<unknown> {
    const trying = Promise.withResolvers<void>();
    this.#trying = trying.promise;
    try {
      if (gathered.bad.length > 0) {
        await this.#handlers.putAside(gathered.bad);
        gathered.bad = [];
      }
      await this.#handlers.apply(gathered.messages, gathered.positions);
      return null;
    } catch (error) {
      return error ?? new Error("rejected without a reason");
    } finally {
      this.#trying = null;
      trying.resolve();
    }
  }
}

/** Moves the message to the bad ones; false where it is not there. */
function takeOut(gathered: Gathered, { partition, offset, message }: Poison): boolean {
  const at = gathered.messages.findIndex((each) => each.partition === partition && each.offset === offset);
  if (at < 0) return false;
  const [{ value }] = gathered.messages.splice(at, 1) as [LogMessage];
  gathered.bad.push({ partition, offset, value, reason: message });
  return true;
}
