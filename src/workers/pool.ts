import { type Transferable, Worker } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { threadEntry } from "../lib/threads.ts";
import { DRAIN_MS_MAX, WORKER_BACKOFF_MS_MAX } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { NodePart } from "../ports/node.ts";
import { log } from "../telemetry/log.ts";
import type { FromWorker, Health, Scraped, ToWorker, WorkerData } from "./messages.ts";

const BACKOFF_MS_MIN = 50;
/** A worker that has lived so long died of something new. */
const LONG_LIFE_MS = 60_000;

interface PoolParts {
  workers: number;
  /** What worker `index` begins with, anew for each life, and what of it is handed over rather than copied. */
  begin(index: number, port: number): { data: WorkerData; transfer: Transferable[] };
  /** Worker `index` has died: clean up after it. */
  ended(index: number): void;
  /** What main answers for all threads. */
  scrape(what: Scraped): Promise<string>;
  press(): void;
}

interface Member {
  /**
   * `starting` → `listening` → `draining` → `gone`; a death on the way leads to `waiting` (for its backoff) and back to
   * `starting`. Only `#become` changes it.
   */
  state: "starting" | "listening" | "draining" | "waiting" | "gone";
  worker: Worker | null;
  bornMs: number;
  backoffMs: number;
  deaths: number;
  /** Since its death, until it listens again. */
  downSince: Date | null;
  timer: ReturnType<typeof setTimeout> | null;
}

const FOLLOWS: Record<Member["state"], readonly Member["state"][]> = {
  starting: ["listening", "waiting", "draining", "gone"],
  listening: ["draining", "waiting", "gone"],
  waiting: ["starting", "gone"],
  draining: ["gone"],
  gone: [],
};

/** The request threads: started, replaced when one dies, drained at the end. */
export class Pool {
  readonly #parts: PoolParts;
  readonly #members: Member[] = [];
  #port: number;
  #url = "";
  #changed: (() => void) | null = null;

  constructor(parts: PoolParts, port: number) {
    this.#parts = parts;
    this.#port = port;
  }

  /** Resolves with the address once all listen. The first picks the port where it is 0. Rejects where it cannot listen. */
  async start(): Promise<string> {
    for (let i = 0; i < this.#parts.workers; i++) {
      this.#members.push({
        state: "waiting",
        worker: null,
        bornMs: 0,
        backoffMs: BACKOFF_MS_MIN,
        deaths: 0,
        downSince: null,
        timer: null,
      });
    }
    // Where the first one fails to listen (the port is taken) there is no point in trying on.
    await this.#spawn(0);
    await Promise.all(this.#members.slice(1).map((_, i) => this.#spawn(i + 1)));
    return this.#url;
  }

  /** How many listen, and how often one has died. */
  get state(): { listening: number; workers: number; deaths: number } {
    return {
      listening: this.#members.filter((member) => member.state === "listening").length,
      workers: this.#parts.workers,
      deaths: this.#members.reduce((sum, member) => sum + member.deaths, 0),
    };
  }

  /**
   * For /readyz: down only where a worker has died and is not back. Those that come up for the first time are awaited by
   * nobody, since each that listens takes every request.
   */
  get part(): NodePart {
    const { listening, workers, deaths } = this.state;
    const dead = this.#members.flatMap(({ downSince }) => downSince ?? []);
    if (dead.length > 0) {
      const since = new Date(Math.min(...dead.map(Number))).toISOString();
      return { status: "down", since, detail: `${listening} of ${workers} run, ${deaths} have died` };
    }
    const isStarting = this.#members.some(({ state }) => state === "starting" || state === "waiting");
    return isStarting ? { status: "up", detail: `${listening} of ${workers} have started` } : { status: "up" };
  }

  /** Called whenever `state` or `part` changes. */
  onChange(changed: () => void): void {
    this.#changed = changed;
  }

  health(health: Health): void {
    for (const { worker } of this.#members) worker?.postMessage({ kind: "health", health } satisfies ToWorker);
  }

  /** Resolves once every thread answers by the new settings; one that dies meanwhile begins with them. One at a time. */
  async configure(settings: Settings, metrics: Metric[]): Promise<void> {
    const workers = this.#members.flatMap(({ worker }) => worker ?? []);
    const taken = workers.map(
      (worker) =>
        new Promise<void>((resolve) => {
          const take = (message: FromWorker) => {
            if (message.kind === "configured") done();
          };
          const done = () => {
            worker.off("message", take).off("exit", done).off("error", done);
            resolve();
          };
          worker.on("message", take).on("exit", done).on("error", done);
          worker.postMessage({ kind: "settings", settings, metrics } satisfies ToWorker);
        }),
    );
    await Promise.all(taken);
  }

  /** No new connections, what is under way finishes; resolves when all have ended, or the time is over. */
  async drain(): Promise<void> {
    const ended = this.#members.map((member, i) => this.#drain(member, i));
    await Promise.race([Promise.all(ended), Bun.sleep(DRAIN_MS_MAX + 1000)]);
  }

  #drain(member: Member, index: number): Promise<void> {
    if (member.timer) clearTimeout(member.timer);
    const worker = member.worker;
    // One that has just begun would listen in a moment, and count what nobody flushes any more: it hears of it then.
    if (!worker) {
      this.#become(member, "gone");
      return Promise.resolve();
    }
    this.#become(member, "draining");
    return new Promise((resolve) => {
      const end = () => {
        if (member.state === "draining") this.#become(member, "gone");
        this.#parts.ended(index);
        resolve();
      };
      worker.on("message", (message: FromWorker) => {
        if (message.kind === "drained") end();
      });
      worker.on("exit", end);
      worker.postMessage({ kind: "drain" } satisfies ToWorker);
    });
  }

  #spawn(index: number): Promise<void> {
    const member = this.#members[index] as Member;
    const { data, transfer } = this.#parts.begin(index, this.#port);
    this.#become(member, "starting");
    member.bornMs = performance.now();
    const worker = new Worker(threadEntry("workers/thread.ts"), { workerData: data, transferList: transfer });
    member.worker = worker;
    return new Promise((resolve, reject) => {
      const death = (error: unknown) => {
        if (member.worker !== worker) return;
        member.worker = null;
        const first = member.state === "starting" && this.#url === "";
        if (member.state !== "draining" && member.state !== "gone") this.#died(member, index, error);
        if (first) reject(error);
        // Another one is replaced, and the start does not wait for that.
        else resolve();
      };
      worker.on("error", death);
      worker.on("exit", (code) => death(new Error(`a worker thread ended with ${code}`)));
      worker.on("message", (message: FromWorker) => {
        switch (message.kind) {
          case "listening":
            this.#port = message.port;
            this.#url = message.url;
            if (member.state === "starting") {
              member.downSince = null;
              this.#become(member, "listening");
            }
            resolve();
            break;
          case "scrape":
            this.#answer(worker, message.id, message.what);
            break;
          case "press":
            this.#parts.press();
        }
      });
    });
  }

  #answer(worker: Worker, id: number, what: Scraped): void {
    this.#parts.scrape(what).then(
      (text) => worker.postMessage({ kind: "answer", id, text } satisfies ToWorker),
      (error) => {
        log.error("the metrics could not be rendered", { error });
        worker.postMessage({ kind: "answer", id, text: null } satisfies ToWorker);
      },
    );
  }

  #died(member: Member, index: number, error: unknown): void {
    member.deaths++;
    member.downSince ??= new Date();
    if (performance.now() - member.bornMs > LONG_LIFE_MS) member.backoffMs = BACKOFF_MS_MIN;
    log.error("a worker thread died and is replaced", { worker: index, inMs: member.backoffMs, error });
    this.#become(member, "waiting");
    this.#parts.ended(index);
    if (this.#url === "") return;
    member.timer = setTimeout(() => void this.#spawn(index).catch(() => undefined), member.backoffMs);
    member.backoffMs = Math.min(2 * member.backoffMs, WORKER_BACKOFF_MS_MAX);
  }

  #become(member: Member, state: Member["state"]): void {
    if (!FOLLOWS[member.state].includes(state)) throw new Error(`a worker cannot go from ${member.state} to ${state}`);
    member.state = state;
    this.#changed?.();
  }
}
