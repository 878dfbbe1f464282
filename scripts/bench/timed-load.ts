import { FillConnection, type Work } from "./fill-connection.ts";

/** Requests with the moment each began (milliseconds since 1970) and how long it took. */
export interface Timed {
  readonly beganMs: readonly number[];
  readonly tookMs: readonly number[];
}

/** Loads a server like oha, one request at a time on each connection, and remembers when each of them was under way. */
export async function timedLoad(
  url: string,
  options: { connections: number; seconds: number; request: () => string },
): Promise<Timed> {
  const { hostname, port } = new URL(url);
  const ended = Promise.withResolvers<never>();
  const all = { beganMs: [] as number[], tookMs: [] as number[] };
  const connections = Array.from({ length: options.connections }, () => {
    const work = new TimedWork(all, { request: options.request, failed: ended.reject });
    return new FillConnection(work, { depth: 1 });
  });
  try {
    await Promise.all(connections.map((connection) => connection.open({ hostname, port: Number(port) })));
    await Promise.race([Bun.sleep(options.seconds * 1000), ended.promise]);
  } finally {
    ended.promise.catch(() => {}); // closing is no failure
    for (const connection of connections) connection.end();
  }
  return { beganMs: all.beganMs.slice(), tookMs: all.tookMs.slice() };
}

/** The value that a share of all is not above; sorts them. */
export function percentile(values: Float64Array, share: number): number {
  if (values.length === 0) throw new Error("a percentile of nothing");
  values.sort();
  return values[Math.min(values.length - 1, Math.floor(values.length * share))] as number;
}

class TimedWork implements Work {
  readonly #all: { beganMs: number[]; tookMs: number[] };
  readonly #request: () => string;
  readonly #failed: (error: Error) => void;
  #sentMs = 0;

  constructor(
    all: { beganMs: number[]; tookMs: number[] },
    { request, failed }: { request: () => string; failed: (error: Error) => void },
  ) {
    this.#all = all;
    this.#request = request;
    this.#failed = failed;
  }

  next(): string {
    this.#sentMs = performance.now();
    return this.#request();
  }

  done(): void {
    this.#all.beganMs.push(performance.timeOrigin + this.#sentMs);
    this.#all.tookMs.push(performance.now() - this.#sentMs);
  }

  failed(reason: string): void {
    this.#failed(new Error(reason));
  }
}
