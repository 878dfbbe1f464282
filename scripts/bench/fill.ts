/**
 * Fills a server through its API as fast as it takes it, from a process of its own. Requests are pipelined where the
 * server takes that: Bun closes a connection on which a second request comes before an asynchronous handler has answered
 * the first. Then it starts over with many connections that send one request at a time.
 */
import { runChild } from "./children.ts";
import { FillConnection, type Work } from "./fill-connection.ts";
import { type FillPlan, requestOf, requestsIn } from "./fill-plan.ts";

interface Mode {
  readonly connections: number;
  readonly depth: number;
}

const PIPELINED: Mode = { connections: 16, depth: 32 };
const ONE_BY_ONE: Mode = { connections: 256, depth: 1 };
const SECONDS_MAX_START = 60;
/** Slower than this is no filling, but a fault. */
const PER_SECOND_MIN = 2_000;

/** What filling took. */
export interface Filled {
  readonly requests: number;
  readonly seconds: number;
  readonly pipelined: boolean;
}

/** Sends a whole plan to a server. */
export async function fill(url: string, plan: FillPlan): Promise<Filled> {
  const secondsMax = SECONDS_MAX_START + requestsIn(plan) / PER_SECOND_MIN;
  const command = [process.execPath, import.meta.path, url, JSON.stringify(plan)];
  return JSON.parse(await runChild(command, { secondsMax })) as Filled;
}

/** One attempt; ends when every request was answered with 2xx. */
class Attempt implements Work {
  readonly #plan: FillPlan;
  readonly #count: number;
  readonly #finished = Promise.withResolvers<void>();
  #index = 0;
  #answered = 0;

  constructor(plan: FillPlan) {
    this.#plan = plan;
    this.#count = requestsIn(plan);
  }

  async run(url: string, mode: Mode): Promise<Filled> {
    const { hostname, port } = new URL(url);
    const connections = Array.from({ length: mode.connections }, () => new FillConnection(this, mode));
    const startedMs = performance.now();
    try {
      await Promise.all(connections.map((connection) => connection.open({ hostname, port: Number(port) })));
      await this.#finished.promise;
    } finally {
      for (const connection of connections) connection.end();
    }
    const seconds = (performance.now() - startedMs) / 1000;
    return { requests: this.#count, seconds, pipelined: mode === PIPELINED };
  }

  next(): string | undefined {
    return this.#index < this.#count ? requestOf(this.#plan, this.#index++) : undefined;
  }

  done(count: number): void {
    this.#answered += count;
    if (this.#answered === this.#count) this.#finished.resolve();
  }

  failed(reason: string): void {
    this.#finished.reject(new Error(reason));
  }
}

if (import.meta.main) {
  const [url = "", text = ""] = process.argv.slice(2);
  const plan = JSON.parse(text) as FillPlan;
  const filled = await new Attempt(plan).run(url, PIPELINED).catch(() => new Attempt(plan).run(url, ONE_BY_ONE));
  console.log(JSON.stringify(filled));
  process.exit(0);
}
