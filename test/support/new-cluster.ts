import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import mysql from "mysql2/promise";
import { Api } from "./contract.ts";
import { eventually } from "./eventually.ts";
import { runTally, TestServer } from "./server.ts";
import { type Cluster, startCluster } from "./services.ts";

export type Store = "redis" | "kafka" | "mysql";
export const STORES: readonly Store[] = ["redis", "kafka", "mysql"];

/** Everything is told and stored within this, on a machine that does much else. */
const SETTLE_MS_MAX = 60_000;

/** Clusters that nobody has used before, one after the other on the same stores: each has a prefix and a database of its own. */
export class NewClusters implements AsyncDisposable {
  readonly stores: Cluster;
  #made = 0;

  private constructor(stores: Cluster) {
    this.stores = stores;
  }

  static async start(): Promise<NewClusters> {
    return new NewClusters(await startCluster({ nodes: 1, mysql: { durable: false }, redis: { aof: "always" } }));
  }

  async make(): Promise<NewCluster> {
    const url = await this.stores.mysql.createDatabase();
    return new NewCluster(this.stores, `new${++this.#made}`, new URL(url).pathname);
  }

  /** Also of those that a test has left away. */
  async heal(): Promise<void> {
    for (const name of STORES) {
      const store = this.stores[name];
      if (store.state === "paused") await store.resume();
      if (store.state === "stopped") await store.start();
    }
    for (const ways of this.stores.ways) for (const name of STORES) await ways[name].heal();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stores.stop();
  }
}

export class NewCluster implements AsyncDisposable {
  readonly prefix: string;
  readonly #stores: Cluster;
  readonly #database: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "tally-"));
  readonly #servers: TestServer[] = [];

  constructor(stores: Cluster, prefix: string, database: string) {
    this.#stores = stores;
    this.prefix = prefix;
    this.#database = database;
  }

  /** What `tally` needs to use it, on the ways that can be cut, or directly. */
  flags(isCuttable = false): string[] {
    const flags = (isCuttable && this.#stores.ways[0]?.flags) || this.#stores.flags;
    const own = flags.map((flag) => {
      if (!flag.startsWith("mysql:")) return flag;
      const url = new URL(flag);
      url.pathname = this.#database;
      return url.href;
    });
    return [...own, "--prefix", this.prefix];
  }

  /** Does not wait for anything. Data directories are named; a name that was not used before is a new one. */
  spawn(data: string, { args = [] as string[], isCuttable = false, command = "serve" as "serve" | "consume" } = {}) {
    const flags = [...this.flags(isCuttable), "--flush-ms", "100", "--workers", "2", ...args];
    const server = TestServer.spawn({ command, data: join(this.#folder, data), args: flags });
    this.#servers.push(server);
    return server;
  }

  async start(data: string, options: Parameters<NewCluster["spawn"]>[1] = {}): Promise<TestServer> {
    const server = this.spawn(data, options);
    await server.listening();
    return server;
  }

  /** Of its MySQL. */
  async ask(sql: string): Promise<void> {
    const url = this.flags().find((flag) => flag.startsWith("mysql:")) as string;
    const connection = await mysql.createConnection(url);
    await connection.query(sql);
    await connection.end();
  }

  /** What nothing but the stores' own words says: the ledger agrees with itself and with Redis. */
  async verify(): Promise<{ status: number | null; stdout: string }> {
    const { status, stdout } = await runTally(["verify", ...this.flags()]);
    return { status, stdout };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers.filter(({ hasEnded }) => hasEnded)) {
      if (server.stderr !== "") console.error(server.stderr);
    }
    await Promise.all(this.#servers.map((server) => server.kill()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function apiOf(server: TestServer): Api {
  const api = new Api();
  api.urls = [server.url];
  return api.alone();
}

export function untilReady(...servers: TestServer[]): Promise<unknown> {
  return eventually(
    () => Promise.all(servers.map((server) => server.json("/readyz").then(({ status }) => is(status, "ready")))),
    SETTLE_MS_MAX,
  );
}

/** The counts are these on all of them. */
export async function untilCounted(servers: TestServer[], subject: string, counts: object): Promise<void> {
  await eventually(async () => {
    for (const server of servers) {
      const { counts: shown } = await server.json<{ counts: Record<string, number> }>(`/v1/subjects/${subject}`);
      is(JSON.stringify({ ...shown, ...counts }), JSON.stringify(shown));
    }
  }, SETTLE_MS_MAX);
}

function is(value: unknown, wanted: unknown): void {
  if (value !== wanted) throw new Error(`${value} instead of ${wanted}`);
}

/** How many messages a topic has taken. */
export async function messagesIn(brokers: string, topic: string): Promise<number> {
  const admin = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsets(topic);
    return offsets.reduce((sum, { high }) => sum + Number(high), 0);
  } finally {
    await admin.disconnect();
  }
}
