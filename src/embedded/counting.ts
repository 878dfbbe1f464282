import { shardOfSubject } from "../arithmetic/shard.ts";
import { isActive, msOf, type Stamp } from "../arithmetic/stamp.ts";
import { badInput, Problem, unavailable } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { ACT_WAIT_MS_MAX, ACTS_UNDER_WAY_MAX } from "../limits.ts";
import { listPage } from "../local/lists.ts";
import { type Actor, COUNT_MAX, type Metric, type RelationState, type Subject } from "../model.ts";
import type { Bulk } from "../ports/bulk.ts";
import type { Counting, ListPage, ListQuery, OnceKey, Page, PageQuery } from "../ports/counting.ts";
import { Adder } from "../tallies/adder.ts";
import { type CounterTable, OWING_TOO_MUCH, TOO_HIGH } from "../tallies/table.ts";
import {
  type ActSender,
  ADD_ONCE,
  CHANGED,
  HELD,
  KEY_REUSED,
  NOT_LOADED,
  REFUSED,
  RELATE,
  type ReplyStatus,
} from "./acts.ts";
import { type Overlay, RegisterKey } from "./overlay.ts";
import { PageReader } from "./pages.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/** How a worker reaches the other threads. */
export interface Calls {
  /** Wakes the writer. */
  ring(): void;
  /** Asks main to make room in the table, or to flush; main looks at once. */
  press(): void;
}

/** An act under way. What it resolves to depends on its kind, so that no closure need be made for it. */
interface Waiting {
  readonly kind: typeof RELATE | typeof ADD_ONCE;
  readonly metric: number;
  readonly subject: Subject;
  readonly actor: Actor;
  readonly active: boolean;
  readonly by: number;
  readonly once: OnceKey | undefined;
  readonly atMs: number | undefined;
  /** Date.now() when it was sent, or is to be. */
  sentMs: number;
  /** Its caller was told that it takes too long; its place is kept until the writer has answered. */
  isGivenUp: boolean;
  readonly resolve: (result: never) => void;
  readonly reject: (problem: unknown) => void;
}

const POLL_MS = 4;
/** No room, or the flush must come first: ask main, and try again. */
const NOT_NOW = -1;
const GRACE_MS = 1_000;

/**
 * Counting on one machine, as one worker does it.
 *
 * Tallies: an atomic add in the table, here and now. Relations and keyed tallies: an act to the writer thread, answered
 * when it is durable and shown. Reads: the table for counts; for registers the overlay first, the ledger second, so what
 * moves from one to the other in between is seen at least once, and the higher stamp is the newer.
 */
export class EmbeddedCounting implements Counting {
  readonly bulk: Bulk;
  readonly #table: CounterTable;
  readonly #overlay: Overlay;
  readonly #ledger: SqliteLedgerReader;
  readonly #acts: ActSender;
  readonly #calls: Calls;
  readonly #pages: PageReader;
  readonly #key = new RegisterKey();
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(parts: {
    table: CounterTable;
    overlay: Overlay;
    ledger: SqliteLedgerReader;
    acts: ActSender;
    calls: Calls;
  }) {
    this.#table = parts.table;
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#pages = new PageReader(parts.overlay, parts.ledger);
    this.#acts = parts.acts;
    this.#calls = parts.calls;
    this.#timer = setInterval(() => this.#expire(), 250);
    this.bulk = {
      adds: new Adder(parts.table),
      add: (metric, subject, by) => {
        const count = this.#add(metric, subject, by);
        if (typeof count !== "number") return count.then(() => undefined);
      },
      append: () => Promise.reject(unavailable("not yet")),
    };
  }

  add(metric: Metric, subject: Subject, by: number): number | Promise<number> {
    return this.#add(metric.id, subject, by);
  }

  addOnce(metric: Metric, subject: Subject, by: number, once?: OnceKey, atMs?: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const act = { kind: ADD_ONCE, metric: metric.id, subject, actor: "", active: false, by, once, atMs } as const;
    this.#post({ ...act, sentMs: 0, isGivenUp: false, resolve, reject });
    return promise;
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
    return { active, count: this.#count(metric.id, subject), at: active ? msOf(stamp) : null };
  }

  counts(subject: Subject, metrics: readonly Metric[]): number[] {
    const counts: number[] = new Array(metrics.length);
    this.#table.enter();
    try {
      for (let i = 0; i < metrics.length; i++) counts[i] = this.#countInside((metrics[i] as Metric).id, subject);
    } finally {
      this.#table.leave();
    }
    return counts;
  }

  mine(subject: Subject, actor: Actor, metrics: readonly Metric[]): string[] {
    this.#key.set(subject, actor, this.#overlay.seed);
    const mine: string[] = [];
    // Overlay first for all of them, ledger second: see above.
    const stamps = metrics.map((metric) => this.#overlay.find(metric.id, this.#key));
    const stored = this.#read(() => this.#ledger.registersOf(subject, actor));
    for (let i = 0; i < metrics.length; i++) {
      const metric = metrics[i] as Metric;
      let stamp = stamps[i] as Stamp;
      for (const [id, there] of stored) if (id === metric.id && there > stamp) stamp = there;
      if (isActive(stamp)) mine.push(metric.name);
    }
    return mine;
  }

  page(query: PageQuery): Page {
    const { subjects, metrics } = query;
    const counts: number[] = [];
    this.#table.enter();
    try {
      for (const subject of subjects) for (const metric of metrics) counts.push(this.#countInside(metric.id, subject));
    } finally {
      this.#table.leave();
    }
    return this.#read(() => this.#pages.read(query, counts));
  }

  actors(metric: Metric, subject: Subject, query: ListQuery): ListPage {
    this.#key.setSubject(subject, this.#overlay.seed);
    const onTheWay = this.#overlay.bySubject(metric.id, this.#key);
    return this.#read(() =>
      this.#ledger.snapshot(() =>
        listPage(onTheWay, query, (before, limit) =>
          this.#ledger
            .newestActors(metric.id, subject, before, limit)
            .map((row) => ({ id: row.actor, stamp: row.stamp })),
        ),
      ),
    );
  }

  subjects(metric: Metric, actor: Actor, query: ListQuery): ListPage {
    this.#key.setActor(actor, this.#overlay.seed);
    const prefix = query.type === undefined ? "" : `${query.type}/`;
    const onTheWay = this.#overlay.byActor(metric.id, this.#key).filter((item) => item.id.startsWith(prefix));
    return this.#read(() =>
      this.#ledger.snapshot(() =>
        listPage(onTheWay, query, (before, limit) =>
          this.#ledger
            .newestSubjects(metric.id, actor, before, limit, query.type)
            .map((row) => ({ id: row.subject, stamp: row.stamp })),
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
    return this.#read(() =>
      this.#ledger.snapshot(() =>
        metrics.map((metric, i) => {
          let count = this.#ledger.actorCount(metric.id, actor, type);
          for (const item of onTheWay[i] ?? []) {
            const stored = this.#ledger.register(metric.id, item.id, actor);
            if (item.stamp > stored) count += (item.stamp % 2) - (stored % 2);
          }
          return count;
        }),
      ),
    );
  }

  /** The writer has answered: called when its message arrives. */
  takeReplies(): void {
    this.#acts.replies((id, status, count, stamp) => {
      const waiting = this.#waiting.get(id);
      if (!waiting) return;
      fault("worker.told");
      this.#waiting.delete(id);
      if (waiting.isGivenUp) return;
      if (status === NOT_LOADED) this.#post(waiting);
      else if (status === HELD) setTimeout(() => this.#post(waiting), POLL_MS);
      else settle(waiting, status, count, stamp);
    });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  // Counters

  #add(metric: number, subject: Subject, by: number): number | Promise<number> {
    const count = this.#tryAdd(metric, subject, by);
    return count >= 0 ? count : this.#untilRoom(() => this.#tryAdd(metric, subject, by));
  }

  /** The counter's slot, loaded; -1 where the table has no room. Inside enter/leave. */
  #slot(metric: number, subject: Subject): number {
    let slot = this.#table.find(metric, subject);
    if (slot >= 0 && this.#table.isLoaded(slot)) return slot;
    if (slot < 0) slot = this.#table.claim(metric, subject);
    fault("worker.claimed");
    if (slot >= 0 && !this.#table.isLoaded(slot)) {
      this.#table.install(
        slot,
        this.#read(() => this.#ledger.count(metric, subject)),
      );
    }
    return slot;
  }

  /** The count with it, or NOT_NOW: then nothing was added. */
  #tryAdd(metric: number, subject: Subject, by: number): number {
    this.#table.enter();
    try {
      const slot = this.#slot(metric, subject);
      if (slot < 0) return NOT_NOW;
      const count = this.#table.add(slot, by);
      if (count === TOO_HIGH) throw badInput("/by", `the count would pass ${COUNT_MAX}`);
      return count === OWING_TOO_MUCH ? NOT_NOW : count;
    } finally {
      this.#table.leave();
    }
  }

  #count(metric: number, subject: Subject): number {
    this.#table.enter();
    try {
      return this.#countInside(metric, subject);
    } finally {
      this.#table.leave();
    }
  }

  /**
   * Reads make no counters: one that the ledger does not have is 0 and takes no slot. When there was no slot the ledger had
   * all of the counter, so what it says a moment later lies between then and now.
   */
  #countInside(metric: number, subject: Subject): number {
    let slot = this.#table.find(metric, subject);
    if (slot >= 0 && this.#table.isLoaded(slot)) return this.#table.shown(slot);
    const count = this.#read(() => this.#ledger.count(metric, subject));
    if (slot < 0 && count === 0) return 0;
    if (slot < 0) slot = this.#table.claim(metric, subject);
    if (slot < 0) return count;
    this.#table.install(slot, count);
    return this.#table.shown(slot);
  }

  /** Repeats `attempt` (which may give NOT_NOW) until it does, while main makes room; 503 when that takes too long. */
  async #untilRoom(attempt: () => number): Promise<number> {
    const deadline = performance.now() + ACT_WAIT_MS_MAX;
    for (;;) {
      this.#calls.press();
      await Bun.sleep(POLL_MS);
      const result = attempt();
      if (result >= 0) return result;
      if (performance.now() > deadline) {
        throw unavailable(
          "the counters in memory are full, and none may leave yet (--counters-max); nothing was counted",
        );
      }
    }
  }

  #register(metric: number, subject: Subject, actor: Actor): Stamp {
    this.#key.set(subject, actor, this.#overlay.seed);
    const onTheWay = this.#overlay.find(metric, this.#key);
    return onTheWay || this.#read(() => this.#ledger.register(metric, subject, actor));
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw unavailable(`the ledger cannot be read: ${error instanceof Error ? error.message : error}`);
    }
  }

  // Acts

  /** Makes sure that the counter is loaded, which the writer asks for, and sends. */
  #post(waiting: Waiting): void {
    try {
      if (this.#load(waiting.metric, waiting.subject)) {
        this.#send(waiting);
      } else {
        this.#untilRoom(() => (this.#load(waiting.metric, waiting.subject) ? 0 : NOT_NOW))
          .then(() => this.#send(waiting))
          .catch(waiting.reject);
      }
    } catch (error) {
      waiting.reject(error);
    }
  }

  #load(metric: number, subject: Subject): boolean {
    this.#table.enter();
    try {
      const slot = this.#slot(metric, subject);
      return slot >= 0;
    } finally {
      this.#table.leave();
    }
  }

  #send(waiting: Waiting): void {
    if (this.#waiting.size >= ACTS_UNDER_WAY_MAX) throw unavailable("too many acts are under way");
    const id = this.#nextId;
    this.#nextId = id === 0x7fffffff ? 1 : id + 1;
    const { kind, metric, active, by, subject, actor, once, atMs } = waiting;
    // Sent again (the counter had left the table) it keeps its time: what waits too long is refused, however often it was sent.
    if (waiting.sentMs === 0) waiting.sentMs = Date.now();
    const { sentMs } = waiting;
    this.#key.set(subject, actor, this.#overlay.seed);
    const shard = shardOfSubject(this.#key.bytes, this.#key.subjectBytes);
    if (!this.#acts.send({ id, kind, metric, shard, active, by, sentMs }, this.#key, once, atMs)) {
      throw unavailable("the queue to the disk is full");
    }
    fault("worker.sent");
    this.#waiting.set(id, waiting);
    this.#calls.ring();
  }

  /**
   * The writer refuses what has waited too long. Where it does not even come to that (the disk hangs) callers are told
   * after a second more; but not those of keyed tallies, for whom 503 means "not counted": they wait for the writer's word.
   */
  #expire(): void {
    const givenUpMs = Date.now() - ACT_WAIT_MS_MAX - GRACE_MS;
    for (const waiting of this.#waiting.values()) {
      if (waiting.sentMs > givenUpMs) break; // in the order they were sent, but for those sent again
      if (waiting.kind === ADD_ONCE || waiting.isGivenUp) continue;
      waiting.isGivenUp = true;
      waiting.reject(unavailable("the disk hangs; the act may or may not take effect, trying again is safe"));
    }
  }
}

function settle({ kind, resolve, reject }: Waiting, status: ReplyStatus, count: number, stamp: Stamp): void {
  if (status === KEY_REUSED) {
    reject(new Problem("key-reused", "this Idempotency-Key came with another body before"));
  } else if (status === REFUSED) {
    reject(unavailable("the act could not be made durable; it was not done"));
  } else if (kind === ADD_ONCE) {
    (resolve as (count: number) => void)(count);
  } else {
    const at = stamp === 0 ? null : msOf(stamp);
    const state: RelationState & { changed: boolean } = {
      active: isActive(stamp),
      changed: status === CHANGED,
      count,
      at,
    };
    (resolve as (result: RelationState & { changed: boolean }) => void)(state);
  }
}
