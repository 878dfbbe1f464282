import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Book } from "./book.ts";
import { type Allowed, ClusterLoad } from "./cluster-load.ts";
import { eventually } from "./eventually.ts";
import { untilFlushed } from "./flushes.ts";
import { runTally, type ServerOptions, TALLY_FAULTS, TestServer } from "./server.ts";
import { type Cluster, type RedisOptions, startCluster } from "./services.ts";
import { verifyStored } from "./stored-book.ts";
import { closeKeyed, verify } from "./verify.ts";

export interface WorldOptions {
  seed: number;
  nodes?: number;
  /** The projector in a process of its own, so many of them; 0: each node has one. */
  consumers?: number;
  /** Of Kafka: with three, one may be lost. */
  brokers?: number;
  redis?: RedisOptions;
  /** Of a Redis that the caller has; the world's own is left alone then. */
  redisUrl?: string;
  args?: string[];
  env?: (node: number) => Record<string, string>;
  /** Of the test build, which `env` can make faulty. */
  isFaulty?: boolean;
}

/** After all stores are back: sessions of the projectors' group end, spools go out, the ledger takes it. */
const SETTLE_MS_MAX = 60_000;
const FLUSH_MS = 300;
const WARM_ACTS = 40;
const WARM_MS_MAX = 30_000;

/** Three stores, nodes on ways of their own to them, and clients that remember what they were told. */
export class ClusterWorld implements AsyncDisposable {
  readonly stores: Cluster;
  readonly folder = mkdtempSync(join(tmpdir(), "tally-chaos-"));
  readonly nodes: (TestServer | null)[] = [];
  readonly consumers: (TestServer | null)[] = [];
  readonly book = new Book();
  readonly allowed: Allowed = { unreadable: false, stale: false, roaming: false };
  readonly #options: WorldOptions;
  load: ClusterLoad | null = null;
  #loads = 0;

  private constructor(stores: Cluster, options: WorldOptions) {
    this.stores = stores;
    this.#options = options;
  }

  static async start(options: WorldOptions): Promise<ClusterWorld> {
    const nodes = options.nodes ?? 2;
    const consumers = options.consumers ?? 0;
    const stores = await startCluster({
      nodes: nodes + consumers,
      ...(options.brokers && { brokers: options.brokers }),
      mysql: { durable: false },
      ...(options.redis && { redis: options.redis }),
    });
    const world = new ClusterWorld(stores, options);
    try {
      await Promise.all(Array.from({ length: nodes }, (_, i) => world.startNode(i)));
      await Promise.all(Array.from({ length: consumers }, (_, i) => world.startConsumer(i)));
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  get servers(): TestServer[] {
    return [...this.nodes, ...this.consumers].filter((server) => server !== null);
  }

  node(index: number): TestServer {
    const node = this.nodes[index];
    if (!node) throw new Error(`node ${index} does not run`);
    return node;
  }

  ways(index: number) {
    const ways = this.stores.ways[index];
    if (!ways) throw new Error(`there are no ways ${index}`);
    return ways;
  }

  #flags(flags: readonly string[]): string[] {
    const { redisUrl } = this.#options;
    return flags.map((flag, i) => (redisUrl && flags[i - 1] === "--redis-url" ? redisUrl : flag));
  }

  /** On the data it had. */
  async startNode(index: number): Promise<void> {
    const args = ["--flush-ms", String(FLUSH_MS), "--workers", "2", ...(this.#options.args ?? [])];
    if (this.#options.consumers) args.push("--no-consumer");
    const options: ServerOptions = {
      data: join(this.folder, `node-${index}`),
      args: [...this.#flags(this.ways(index).flags), ...args],
      env: this.#options.env?.(index) ?? {},
    };
    if (this.#options.isFaulty) options.binary = TALLY_FAULTS;
    // Here before it listens: one that dies of something on the way there is looked at, too.
    const node = TestServer.spawn(options);
    this.nodes[index] = node;
    await node.listening();
  }

  async killNode(index: number): Promise<void> {
    const node = this.node(index);
    this.nodes[index] = null;
    await node.kill();
  }

  async startConsumer(index: number): Promise<void> {
    const flags = this.#flags(this.ways(this.nodes.length + index).flags);
    const data = join(this.folder, `consumer-${index}`);
    this.consumers[index] = await TestServer.start({ command: "consume", data, args: flags });
  }

  async killConsumer(index: number): Promise<void> {
    const consumer = this.consumers[index];
    this.consumers[index] = null;
    await consumer?.kill();
  }

  /** In order, so that nobody waits for the end of its session. */
  async stopConsumer(index: number): Promise<void> {
    const consumer = this.consumers[index];
    this.consumers[index] = null;
    await consumer?.stop();
  }

  /** Clients act, and a new cluster has found its feet: acts wait for the projectors' first reading. */
  async startLoad(): Promise<ClusterLoad> {
    const { book, allowed } = this;
    const urls = () => this.nodes.map((node) => node?.url || null);
    // Keys must not come again.
    this.load = new ClusterLoad({ urls, book, seed: this.#options.seed * 10 + ++this.#loads, allowed });
    const { taken } = this.load;
    await eventually(async () => {
      if ((taken.statuses.get("PUT 200") ?? 0) < WARM_ACTS) throw new Error("acts are not answered 200");
    }, WARM_MS_MAX);
    return this.load;
  }

  async stopLoad(): Promise<void> {
    await this.load?.stop();
    this.load = null;
  }

  /** The ledger has everything, and says so. */
  async settle(): Promise<void> {
    await untilApplied(this.servers);
  }

  /** Everything is as the clients were told, on every node, in Redis and in MySQL. */
  async verify(): Promise<string[]> {
    const { book } = this;
    await this.settle();
    for (const { url } of this.nodes.filter((node) => node !== null)) await closeKeyed(url, book);
    // What the last flush of the other node has, and what the keys were answered with.
    await Promise.all(this.nodes.map((node) => node && untilFlushed(node)));
    await this.settle();
    for (const { url } of this.nodes.filter((node) => node !== null)) await verify(url, book);
    for (const [subject, { acked, most }] of book.keyed) {
      book.must(most === acked, () => `shares of ${subject}: ${acked} were answered of ${most}`);
    }
    await verifyStored(this.stores.mysql.url, book);
    const verified = await runTally(["verify", ...this.#flags(this.stores.flags)]);
    book.must(verified.status === 0, () => `tally verify: ${verified.stdout} ${verified.stderr}`);
    for (const server of this.servers) {
      book.must(server.stderr === "", () => `stderr of ${server.url}: ${server.stderr}`);
    }
    return book.wrong;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopLoad();
    for (const server of this.servers.filter(({ hasEnded }) => hasEnded)) {
      console.error(
        "a server ended by itself",
        server.stderr,
        ...server.lines.slice(-8).map((line) => JSON.stringify(line)),
      );
    }
    await Promise.all(this.servers.map((server) => server.kill()));
    await this.stores.stop();
    if (this.book.wrong.length > 0 || process.env.TALLY_KEEP) console.error(`kept for a look: ${this.folder}`);
    else rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The ledger has everything of them, and they say so. */
export async function untilApplied(servers: readonly TestServer[]): Promise<void> {
  await eventually(async () => {
    for (const server of servers) {
      const metrics = await metricsOf(server);
      for (const name of ["tally_outbox_bytes", "tally_projector_lag_messages"]) {
        if ((metrics.get(name) ?? 0) !== 0) throw new Error(`${name} of ${server.url} is ${metrics.get(name)}`);
      }
    }
  }, SETTLE_MS_MAX);
}

/** Metrics without labels, by name; of those with labels the last. */
export async function metricsOf(server: TestServer): Promise<Map<string, number>> {
  const text = await (await server.get("/metrics")).text();
  return new Map(
    text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const space = line.lastIndexOf(" ");
        return [line.slice(0, space).replace(/\{.*\}/, ""), Number(line.slice(space + 1))];
      }),
  );
}

/** Resident bytes of a process. */
export function residentBytes(pid: number): number {
  const pages = readFileSync(`/proc/${pid}/statm`, "latin1").split(" ")[1];
  return Number(pages) * 4096;
}
