import type { MessagePort } from "node:worker_threads";
import type { Distinct } from "../distinct/sketches.ts";
import { keyReused, unavailable } from "../errors.ts";
import { Batcher } from "../lib/batcher.ts";
import { Questions } from "../lib/questions.ts";
import { LOOKS_AT_ONCE, SHARED_ACTS_MAX } from "../limits.ts";
import { type CountName, HotStoreAway } from "../ports/hot-store.ts";
import type {
  Act,
  ActAnswer,
  BulkLogged,
  FromLog,
  LogAnswers,
  Logged,
  LogQuestion,
  StampedEvent,
  ToLog,
  Visit,
} from "./messages.ts";
import type { OwnAct, OwnQuestion } from "./own-acts.ts";

/** A request thread's way to the log thread. What gathers within one turn of the event loop travels together. */
export class LogClient {
  readonly #port: MessagePort;
  readonly #asked = new Questions<FromLog["answer"]>();
  readonly #acts: Batcher<Act, ActAnswer>;
  readonly #visits: Batcher<Visit, number | null>;
  readonly #own: Batcher<OwnQuestion, OwnAct[]>;
  readonly #unseen: Batcher<undefined, boolean>;

  constructor(port: MessagePort) {
    this.#port = port;
    // Many flights: the log thread gathers them, while one send is under way.
    this.#acts = new Batcher((acts) => this.#ask<"acts">({ kind: "acts", acts }), {
      itemsMax: LOOKS_AT_ONCE,
      flightsMax: 64,
    });
    this.#visits = new Batcher((visits) => this.#ask<"visits">({ kind: "visits", visits }), {
      itemsMax: LOOKS_AT_ONCE,
      flightsMax: 64,
    });
    this.#own = new Batcher((questions) => this.#ask<"own">({ kind: "own", questions }), {
      itemsMax: LOOKS_AT_ONCE,
      flightsMax: 4,
    });
    this.#unseen = new Batcher(
      async (tellers) => {
        const isTold = await this.#ask<"unseen">({ kind: "unseen" });
        return tellers.map(() => isTold);
      },
      { itemsMax: SHARED_ACTS_MAX, flightsMax: 1 },
    );
    port.on("message", ({ id, answer }: FromLog) => this.#asked.answer(id, answer));
  }

  /**
   * Resolves when it is durable: in Kafka, or, while Kafka is away, on this node's disk. Rejects with `key-reused` where this
   * node has logged an act of another body with its key.
   */
  async append(act: Act): Promise<Logged> {
    const logged = await this.#acts.submit(act);
    if (logged === "key-reused") throw keyReused();
    if (logged === null) throw unavailable("the act could not be made durable; it was not done");
    return logged;
  }

  /** Resolves when he is durable and in this node's sketches: what his register is at least in both, 0 where one is not dense. */
  async visit(visit: Visit): Promise<number> {
    const rank = await this.#visits.submit(visit);
    if (rank === null) throw unavailable("the visitor could not be made durable; nothing was counted");
    return rank;
  }

  /** Null where it cannot be known. */
  distinct(metric: number, subject: string): Promise<Distinct | null> {
    return this.#ask<"distinct">({ kind: "distinct", metric, subject });
  }

  /** The same for a block of events of one source. Where it is refused, sending it again is safe. */
  async appendBulk(source: string, events: StampedEvent[]): Promise<BulkLogged> {
    const logged = await this.#ask<"bulk">({ kind: "bulk", source, events });
    if (logged === null) throw unavailable("events could not be made durable; send them again");
    return logged;
  }

  /** The end of the shard's partition of the log, as it is now. */
  async end(shard: number): Promise<number> {
    const end = await this.#ask<"end">({ kind: "end", shard });
    if (end === null) throw new HotStoreAway("the end of the log cannot be asked for: Kafka is away");
    return end;
  }

  /** This node's acts that the ledger may lack, newest first (`OwnActs`). */
  own(question: OwnQuestion): Promise<OwnAct[]> {
    return this.#own.submit(question);
  }

  /** The counts that they are about. */
  ownCounts(): Promise<CountName[]> {
    return this.#ask<"own-counts">({ kind: "own-counts" });
  }

  /**
   * Tells everybody that this node has acts which no copy shows, until it has none (`Freshness.hide` comes before). False where
   * the ledger cannot be told now.
   */
  tellUnseen(): Promise<boolean> {
    return this.#unseen.submit(undefined);
  }

  /** Whether what waits in the log thread may go on: Kafka is there, for all that is known. */
  canShip(): Promise<boolean> {
    return this.#ask<"kafka">({ kind: "kafka" });
  }

  close(): void {
    this.#port.close();
  }

  #ask<K extends keyof LogAnswers>(question: LogQuestion & { kind: K }): Promise<LogAnswers[K]> {
    const send = (id: number) => this.#port.postMessage({ ...question, id } satisfies ToLog);
    return this.#asked.ask(send) as Promise<LogAnswers[K]>;
  }
}
