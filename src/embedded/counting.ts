import { countDelta } from "../arithmetic/register.ts";
import { isActive, msOf, type Stamp } from "../arithmetic/stamp.ts";
import type { SketchBoard } from "../distinct/board.ts";
import type { Code } from "../distinct/code.ts";
import type { Distinct } from "../distinct/sketches.ts";
import { listPage } from "../local/lists.ts";
import { untilRoom } from "../local/room.ts";
import type { Actor, Metric, RelationState, Subject } from "../model.ts";
import { NO_METRIC } from "../ports/bulk.ts";
import type {
  CountedPage,
  CountedQuery,
  Counting,
  ListPage,
  ListQuery,
  OnceKey,
  Page,
  PageQuery,
} from "../ports/counting.ts";
import { Adder } from "../tallies/adder.ts";
import type { CounterTable } from "../tallies/table.ts";
import { ActDesk, type Waiting } from "./act-desk.ts";
import { type ActSender, ADD_ONCE, CLAIM, RELATE } from "./acts.ts";
import { EmbeddedBulk } from "./bulk.ts";
import { CountedReader } from "./counted.ts";
import { Counters, reading, readingLater } from "./counters.ts";
import { LongPages } from "./long-pages.ts";
import { type Overlay, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";
import { type AskWriter, Visiting } from "./visiting.ts";
import type { BulkCommand } from "./writer-messages.ts";

/** How a worker reaches the other threads. */
export interface Calls {
  /** Wakes the writer. */
  ring(): void;
  /** Asks main to make room in the table, or to flush; main looks at once. */
  press(): void;
  /** Hands events to the writer. */
  bulk(command: BulkCommand): void;
}

type ClaimAct = Pick<Waiting, "metric" | "subject" | "actor" | "once"> & { kind: typeof CLAIM };

const POLL_MS = 4;

/**
 * Counting on one machine, as one worker does it.
 *
 * Tallies: an atomic add in the table, here and now. Relations and keyed tallies: an act to the writer thread, answered
 * when it is durable and shown. Reads: the table for counts; for registers the overlay first, the ledger second, so what
 * moves from one to the other in between is seen at least once, and the higher stamp is the newer.
 */
export class EmbeddedCounting implements Counting {
  readonly #counters: Counters;
  readonly #press: () => void;
  readonly bulk: EmbeddedBulk;
  readonly #overlay: Overlay;
  readonly #ledger: SqliteLedgerReader;
  readonly #desk: ActDesk;
  readonly #pages: LongPages;
  readonly #counted: CountedReader;
  readonly #key = new RegisterKey();
  readonly #visiting: Visiting;

  constructor(parts: {
    table: CounterTable;
    overlay: Overlay;
    ledger: SqliteLedgerReader;
    /** Another connection of this thread. */
    openLedger: () => SqliteLedgerReader;
    acts: ActSender;
    sketches: SketchBoard;
    calls: Calls;
  }) {
    this.#press = parts.calls.press;
    this.#counters = new Counters(parts.table, parts.ledger, this.#press);
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#counted = new CountedReader(parts.table, parts.ledger);
    this.#pages = new LongPages({ overlay: parts.overlay, ledger: parts.ledger, open: parts.openLedger });
    this.#desk = new ActDesk({ acts: parts.acts, seed: parts.overlay.seed, ring: parts.calls.ring });
    this.#visiting = new Visiting({ board: parts.sketches, ask: (act) => this.#ask(act) });
    this.bulk = new EmbeddedBulk({
      adds: new Adder(parts.table),
      add: (metric, subject, by) => this.#counters.add(metric, subject, by),
      claim: (subject, once) => this.#ask({ kind: CLAIM, metric: NO_METRIC, subject, actor: "", once }),
      load: (metric, subject) => this.#counters.load(metric, subject),
      send: parts.calls.bulk,
      press: parts.calls.press,
    });
  }

  add(metric: Metric, subject: Subject, by: number): number | Promise<number> {
    return this.#counters.add(metric.id, subject, by);
  }

  addOnce(
    metric: Metric,
    subject: Subject,
    by: number,
    once?: OnceKey,
    atMs?: number,
    visitor?: Code,
  ): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const actor = visitor === undefined ? "" : String(visitor);
    const act = { kind: ADD_ONCE, metric: metric.id, subject, actor, active: false, by, once, atMs } as const;
    this.#post({ ...act, sentMs: 0, isGivenUp: false, resolve, reject });
    return promise;
  }

  visit(metric: Metric, subject: Subject, visitor: Code): undefined | Promise<undefined> {
    return this.#visiting.visit(metric.id, subject, visitor);
  }

  distinct(metric: Metric, subject: Subject): Promise<Distinct> {
    return this.#visiting.count(metric.id, subject);
  }

  relate(metric: Metric, subject: Subject, actor: Actor, active: boolean, once?: OnceKey, atMs?: number) {
    const { promise, resolve, reject } = Promise.withResolvers<RelationState & { changed: boolean }>();
    const act = { kind: RELATE, metric: metric.id, subject, actor, active, by: 0, once, atMs } as const;
    this.#post({ ...act, sentMs: 0, isGivenUp: false, resolve, reject });
    return promise;
  }

  relation(metric: Metric, subject: Subject, actor: Actor): RelationState {
    const stamp = this.#register(metric.id, subject, actor);
    const active = isActive(stamp);
    return { active, count: this.#counters.of(metric.id, subject), at: active ? msOf(stamp) : null };
  }

  counts(subject: Subject, metrics: readonly Metric[]): number[] {
    return this.#counters.ofAll([subject], metrics);
  }

  mine(subject: Subject, actor: Actor, metrics: readonly Metric[]): string[] {
    this.#key.set(subject, actor, this.#overlay.seed);
    const mine: string[] = [];
    // Overlay first for all of them, ledger second: see above.
    const stamps = metrics.map((metric) => this.#overlay.find(metric.id, this.#key));
    const stored = reading(() => this.#ledger.registersOf(subject, actor));
    for (let i = 0; i < metrics.length; i++) {
      const metric = metrics[i] as Metric;
      let stamp = stamps[i] as Stamp;
      for (const [id, there] of stored) if (id === metric.id && there > stamp) stamp = there;
      if (isActive(stamp)) mine.push(metric.name);
    }
    return mine;
  }

  page(query: PageQuery): Page | Promise<Page> {
    const page = reading(() => this.#pages.read(query, () => this.#counters.ofAll(query.subjects, query.metrics)));
    return page instanceof Promise ? readingLater(page) : page;
  }

  actors(metric: Metric, subject: Subject, query: ListQuery): ListPage {
    this.#key.setSubject(subject, this.#overlay.seed);
    const onTheWay = this.#overlay.bySubject(metric.id, this.#key);
    return reading(() =>
      this.#ledger.snapshot(() =>
        listPage(onTheWay, query, (before, limit) => this.#ledger.newestActors(metric.id, subject, before, limit)),
      ),
    );
  }

  subjects(metric: Metric, actor: Actor, query: ListQuery): ListPage {
    this.#key.setActor(actor, this.#overlay.seed);
    const prefix = query.type === undefined ? "" : `${query.type}/`;
    const onTheWay = this.#overlay.byActor(metric.id, this.#key).filter((item) => item.id.startsWith(prefix));
    return reading(() =>
      this.#ledger.snapshot(() =>
        listPage(onTheWay, query, (before, limit) =>
          this.#ledger.newestSubjects(metric.id, actor, before, limit, query.type),
        ),
      ),
    );
  }

  actorCounts(actor: Actor, metrics: readonly Metric[], type?: string): number[] {
    this.#key.setActor(actor, this.#overlay.seed);
    const prefix = type === undefined ? "" : `${type}/`;
    const onTheWay = metrics.map((metric) =>
      this.#overlay.byActor(metric.id, this.#key).filter((item) => item.id.startsWith(prefix)),
    );
    return reading(() =>
      this.#ledger.snapshot(() =>
        metrics.map((metric, i) => {
          let count = this.#ledger.actorCount(metric.id, actor, type);
          for (const item of onTheWay[i] ?? []) {
            const stored = this.#ledger.register(metric.id, item.id, actor);
            count += countDelta(stored, item.stamp);
          }
          return count;
        }),
      ),
    );
  }

  counted(query: CountedQuery): CountedPage {
    return reading(() => this.#counted.read(query));
  }

  /** The writer has answered: called when its message arrives. */
  takeReplies(): void {
    this.#desk.takeReplies((waiting, isHeld) => {
      if (isHeld) setTimeout(() => this.#post(waiting), POLL_MS);
      else this.#post(waiting);
    });
  }

  close(): void {
    this.#pages.close();
    this.#desk.close();
  }

  #register(metric: number, subject: Subject, actor: Actor): Stamp {
    this.#key.set(subject, actor, this.#overlay.seed);
    const onTheWay = this.#overlay.find(metric, this.#key);
    return onTheWay || reading(() => this.#ledger.register(metric, subject, actor));
  }

  // Acts

  /** What needs no counter goes off at once. */
  #ask(act: Parameters<AskWriter>[0] | ClaimAct): ReturnType<AskWriter> {
    return new Promise((resolve, reject) => {
      this.#desk.send({
        once: undefined,
        ...act,
        active: false,
        by: 0,
        atMs: undefined,
        sentMs: 0,
        isGivenUp: false,
        resolve,
        reject,
      });
    });
  }

  /** Makes sure that the counter is loaded, which the writer asks for, and sends. */
  #post(waiting: Waiting): void {
    try {
      if (this.#counters.load(waiting.metric, waiting.subject)) {
        this.#desk.send(waiting);
      } else {
        untilRoom(this.#press, () => this.#counters.load(waiting.metric, waiting.subject) || null)
          .then(() => this.#desk.send(waiting))
          .catch(waiting.reject);
      }
    } catch (error) {
      waiting.reject(error);
    }
  }
}
