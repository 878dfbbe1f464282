import type { MessagePort } from "node:worker_threads";
import { isActive } from "../arithmetic/stamp.ts";
import { keyReused, notSettled, Problem, unavailable } from "../errors.ts";
import { Turns } from "../lib/turns.ts";
import { ACT_WAIT_MS_MAX, JOB_LATE_MS, JOB_WAIT_MS_MAX, RECOUNTS_AT_ONCE, SETTLE_MS_MAX } from "../limits.ts";
import { noRoom, untilRoom } from "../local/room.ts";
import { COUNT_MAX, type Metric, type Subject } from "../model.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { Position } from "../ports/log.ts";
import type { ProjectorControl } from "../projector/control.ts";
import type { Flusher } from "../tallies/flusher.ts";
import type { CounterTable } from "../tallies/table.ts";
import { log } from "../telemetry/log.ts";
import { type Overlay, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";
import type { JobReply, WriterJob } from "./writer-jobs.ts";

/** What a request thread asks of main. */
export type AdminRequest =
  | { kind: "set"; metric: number; subject: Subject; count: number; once: OnceKey | undefined }
  | { kind: "erase-subject"; subject: Subject; once: OnceKey | undefined }
  | { kind: "erase-actor"; actor: string; once: OnceKey | undefined }
  | { kind: "merge"; from: Subject; to: Subject; once: OnceKey | undefined };

export type AdminMessage = { id: number; request: AdminRequest };
export type AdminReply =
  | { id: number; counts: Map<number, number>; isShown: boolean }
  | { id: number; problem: { code: Problem["code"]; detail: string } };

interface Outcome {
  counts: Map<number, number>;
  isShown: boolean;
}

type Counter = readonly [metric: number, subject: Subject];
type Done = Extract<JobReply, { status: "done" | "repeat" }>;

const POLL_MS = 2;

/**
 * Sets, erasures and merges, on main. The log has each as one record, which the projector executes in its place in one
 * transaction; so whatever is killed when, it is there whole or not at all.
 *
 *     1. main      loads the counters, notes what was added to them, keeps other flushes away      (a set ends with 2)
 *     2. writer    the record into the log, the counters moved by what it changes; acts on the subjects wait from now on
 *     3. projector everything up to the record into the ledger
 *     4. writer    counts again what only the ledger knows, lets go what waited                  then the answer
 *
 * Between 2 and 4 overlay and ledger still show what is to go, as to everybody who asks just before the answer.
 *
 * An actor's subjects may be many, and their counters are not loaded first. So someone may have read a count before 3 and
 * put it into the table after 4. All who read inside the table's brackets, so after 3 main waits until everyone who was in
 * is out: from then on every count in the table that is too old is there to be found, and what is read later is right.
 */
export class Jobs {
  readonly #table: CounterTable;
  readonly #flusher: Flusher;
  readonly #overlay: Overlay;
  readonly #ledger: SqliteLedgerReader;
  readonly #control: ProjectorControl;
  readonly #ask: (job: WriterJob) => Promise<JobReply>;
  readonly #metrics: () => readonly Metric[];
  readonly #turns = new Turns();
  readonly #ports = new Map<number, MessagePort>();
  readonly #key = new RegisterKey();
  #isStopped = false;

  constructor(parts: {
    table: CounterTable;
    flusher: Flusher;
    overlay: Overlay;
    ledger: SqliteLedgerReader;
    control: ProjectorControl;
    ask: (job: WriterJob) => Promise<JobReply>;
    metrics: () => readonly Metric[];
  }) {
    this.#table = parts.table;
    this.#flusher = parts.flusher;
    this.#overlay = parts.overlay;
    this.#ledger = parts.ledger;
    this.#control = parts.control;
    this.#ask = parts.ask;
    this.#metrics = parts.metrics;
  }

  /** Answers what comes from a request thread, until it has left. */
  serve(thread: number, port: MessagePort): void {
    this.#ports.set(thread, port);
    port.on("message", ({ id, request }: AdminMessage) => {
      this.#do(request).then(
        (outcome) => port.postMessage({ id, ...outcome } satisfies AdminReply),
        (error) => {
          if (this.#isStopped) return;
          if (!(error instanceof Problem)) log.error("an administrator's request failed", { error });
          const { code, message } =
            error instanceof Problem ? error : new Problem("internal", "the error is in the server's log");
          port.postMessage({ id, problem: { code, detail: message } } satisfies AdminReply);
        },
      );
    });
  }

  left(thread: number): void {
    this.#ports.get(thread)?.close();
    this.#ports.delete(thread);
  }

  /** What is under way is in the log, or is not: the next start does the rest. */
  stop(): void {
    this.#isStopped = true;
    for (const thread of this.#ports.keys()) this.left(thread);
    this.#ledger.close();
  }

  #do(request: AdminRequest): Promise<Outcome> {
    if (request.kind === "set") return this.#set(request);
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const asked = performance.now();
    let isGivenUp = false;
    const waiting = setInterval(() => {
      if (!this.#isTooLate(asked)) return;
      isGivenUp = true;
      clearInterval(waiting);
      reject(unavailable("an erasure or a merge before this one is not done yet; nothing was done"));
    }, JOB_LATE_MS);
    void this.#turns.take("job").then(async (end) => {
      clearInterval(waiting);
      if (isGivenUp) return end();
      const late = new Late(resolve);
      try {
        resolve(await this.#job(request, late));
      } catch (error) {
        reject(error);
      } finally {
        late.cancel();
        await this.#ask({ kind: "release" });
        end();
      }
    });
    return promise;
  }

  #job(request: Exclude<AdminRequest, { kind: "set" }>, late: Late): Promise<Outcome> {
    switch (request.kind) {
      case "erase-subject":
        return this.#eraseSubject(request, late);
      case "erase-actor":
        return this.#eraseActor(request, late);
      case "merge":
        return this.#merge(request, late);
    }
  }

  /**
   * Does `work` while these counters stand still: what was counted of them is in the ledger, and nothing of their subjects is
   * logged meanwhile. What workers add is owed.
   */
  async still(counters: readonly { metric: number; subject: Subject }[], work: () => void): Promise<void> {
    const end = await this.#turns.take("job");
    try {
      await this.#ask({ kind: "hold-subjects", subjects: counters.map(({ subject }) => subject) });
      const slots = () => this.#slotsOf(counters.map(({ metric, subject }) => [metric, subject]));
      await this.#flusher.around(slots, Date.now(), async () => {
        if (!(await this.#control.untilApplied(this.#control.head, SETTLE_MS_MAX))) throw notSettled();
        work();
      });
    } finally {
      await this.#ask({ kind: "release" });
      end();
    }
  }

  async #set(request: Extract<AdminRequest, { kind: "set" }>): Promise<Outcome> {
    const { metric, subject } = request;
    const { counts } = await this.#log([[metric, subject]], () => ({ ...request, kind: "set" }));
    return { counts: new Map([[metric, counts[0] as number]]), isShown: true };
  }

  async #eraseSubject({ subject, once }: Extract<AdminRequest, { kind: "erase-subject" }>, late: Late) {
    const metrics = this.#ids();
    const done = await this.#log(
      metrics.map((metric) => [metric, subject]),
      () => ({ kind: "erase-subject", subject, metrics, once }),
    );
    const counts = new Map(metrics.map((metric, i) => [metric, done.counts[i] as number]));
    if (done.status === "done") await this.#inLedger(done.end, late, counts);
    // The writer lets the overlay's part go before anyone is told.
    await this.#ask({ kind: "release" });
    return { counts, isShown: true };
  }

  async #eraseActor({ actor, once }: Extract<AdminRequest, { kind: "erase-actor" }>, late: Late) {
    await this.#ask({ kind: "hold-actor", actor });
    const relations = this.#ids("relation");
    const found = relations.map((metric) => this.#subjectsOf(metric, actor));
    const done = await this.#askLoaded(() => ({ kind: "erase-actor", actor, once }));
    const isRepeat = done.status === "repeat";
    const counts = new Map(relations.map((metric, i) => [metric, isRepeat ? 0 : (found[i] as string[]).length]));
    if (done.status === "done") {
      await this.#inLedger(done.end, late, counts);
      await this.#untilQuiet();
      for (const [i, metric] of relations.entries()) {
        await this.#recount((found[i] as string[]).map((subject) => [metric, subject]));
      }
    }
    await this.#ask({ kind: "release" });
    return { counts, isShown: true };
  }

  async #merge({ from, to, once }: Extract<AdminRequest, { kind: "merge" }>, late: Late): Promise<Outcome> {
    const tallies = this.#ids("tally");
    const relations = this.#ids("relation");
    const done = await this.#log(
      [...tallies, ...relations].flatMap((metric): Counter[] => [
        [metric, from],
        [metric, to],
      ]),
      () => ({ kind: "merge", from, to, tallies, relations, once }),
    );
    if (done.status === "done") {
      await this.#inLedger(done.end, late, new Map());
      await this.#recount(relations.map((metric) => [metric, to]));
    }
    await this.#ask({ kind: "release" });
    return { counts: new Map(), isShown: true };
  }

  #ids(kind?: Metric["kind"]): number[] {
    return this.#metrics()
      .filter((metric) => kind === undefined || metric.kind === kind)
      .map(({ id }) => id);
  }

  /** The subjects on which the actor is active; the actor's acts wait, so it stays so. */
  #subjectsOf(metric: number, actor: string): string[] {
    this.#key.setActor(actor, this.#overlay.seed);
    const onTheWay = this.#overlay.byActor(metric, this.#key);
    return this.#ledger.snapshot(() => {
      const stamps = new Map(this.#ledger.activeOf(metric, actor));
      for (const { id, stamp } of onTheWay) {
        // What is in the overlay may be in the ledger by now, with something newer.
        const stored = this.#ledger.register(metric, id, actor);
        if (stamp > stored) stamps.set(id, stamp);
      }
      return Array.from(stamps)
        .filter(([, stamp]) => isActive(stamp))
        .map(([subject]) => subject);
    });
  }

  /** The counters loaded and noted, the record in the log, and no flush in between. */
  async #log(counters: readonly Counter[], job: () => WriterJob): Promise<Done> {
    const atMs = Date.now();
    return this.#askLoaded(async () => {
      await this.#load(counters);
      return this.#flusher.around(
        () => this.#slotsOf(counters),
        atMs,
        () => this.#ask(job()),
      );
    });
  }

  #slotsOf(counters: readonly Counter[]): number[] {
    return counters.map(([metric, subject]) => this.#table.find(metric, subject)).filter((slot) => slot >= 0);
  }

  /** Again and again while a counter has left the table in between. */
  async #askLoaded(job: () => WriterJob | Promise<JobReply>): Promise<Done> {
    const deadline = performance.now() + ACT_WAIT_MS_MAX;
    for (;;) {
      const asked = job();
      const reply = asked instanceof Promise ? await asked : await this.#ask(asked);
      switch (reply.status) {
        case "done":
        case "repeat":
          return reply;
        case "key-reused":
          throw keyReused();
        case "too-high":
          throw new Problem("bad-input", `a count would pass ${COUNT_MAX}; nothing was merged`);
        case "refused":
          throw unavailable(`${reply.detail}; nothing was done`);
        case "not-loaded":
          if (performance.now() > deadline) throw noRoom();
      }
    }
  }

  /** Main needs no brackets: only main lets counters go, and between two of its steps. */
  async #load(counters: readonly Counter[]): Promise<void> {
    const load = (metric: number, subject: Subject) => {
      const slot = this.#table.claim(metric, subject);
      if (slot < 0) return null;
      if (!this.#table.isLoaded(slot)) this.#table.install(slot, this.#ledger.count(metric, subject));
      return slot;
    };
    const press = () => this.#control.urge();
    for (const [metric, subject] of counters) await untilRoom(press, () => load(metric, subject));
  }

  async #inLedger(end: Position, late: Late, counts: Map<number, number>): Promise<void> {
    const asked = performance.now();
    while (!(await this.#control.untilApplied(end, JOB_LATE_MS))) {
      if (this.#isStopped) throw unavailable("the server stops; what was asked is in the log and will be done");
      if (this.#isTooLate(asked)) late.tell({ counts, isShown: false });
    }
  }

  /** Whether who asked then is to be told that the ledger does not come to it. */
  #isTooLate(asked: number): boolean {
    return this.#control.failing || performance.now() - asked > JOB_WAIT_MS_MAX;
  }

  /** Everyone who is in the table's brackets now is out. */
  async #untilQuiet(): Promise<void> {
    const epoch = this.#table.threads.advance();
    while (!this.#table.threads.quiet(epoch)) await Bun.sleep(POLL_MS);
  }

  async #recount(counts: [metric: number, subject: Subject][]): Promise<void> {
    for (let i = 0; i < counts.length; i += RECOUNTS_AT_ONCE) {
      await this.#ask({ kind: "recount", counts: counts.slice(i, i + RECOUNTS_AT_ONCE) });
    }
  }
}

/** Tells the caller, once, that the ledger takes too long; the work goes on. */
class Late {
  #tell: ((outcome: Outcome) => void) | null;

  constructor(tell: (outcome: Outcome) => void) {
    this.#tell = tell;
  }

  tell(outcome: Outcome): void {
    this.#tell?.(outcome);
    this.#tell = null;
  }

  cancel(): void {
    this.#tell = null;
  }
}
