import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mysql from "mysql2/promise";
import { Api } from "./contract.ts";
import { TestServer } from "./server.ts";
import { type Cluster, startCluster, type TcpProxy } from "./services.ts";

/** Two nodes and stores of their own. Each node has its own ways to the stores, which can be cut. */
export class TwoNodes {
  readonly cluster: Cluster;
  readonly #folder = mkdtempSync(join(tmpdir(), "tally-"));
  readonly #servers: TestServer[] = [];
  readonly #args: readonly string[];

  private constructor(cluster: Cluster, args: readonly string[]) {
    this.cluster = cluster;
    this.#args = args;
  }

  /** `args`: further flags of both. */
  static async start(args: readonly string[] = []): Promise<TwoNodes> {
    const nodes = new TwoNodes(await startCluster({ nodes: 2, mysql: { durable: false } }), args);
    await Promise.all([nodes.startNode(0), nodes.startNode(1)]);
    return nodes;
  }

  /** With the data it had, or `data`. */
  async startNode(index: number, data = String(index)): Promise<void> {
    this.#servers[index] = await TestServer.start({
      data: join(this.#folder, data),
      args: [...this.ways(index).flags, "--flush-ms", "50", ...this.#args],
    });
  }

  server(index: number): TestServer {
    const server = this.#servers[index];
    if (server?.hasEnded)
      throw new Error(`node ${index} has ended: ${server.stderr} ${JSON.stringify(server.lines.slice(-5))}`);
    return server as TestServer;
  }

  api(index: number): Api {
    const api = new Api();
    api.urls = [this.server(index).url];
    return api;
  }

  ways(index: number): { redis: TcpProxy; kafka: TcpProxy; mysql: TcpProxy; flags: string[] } {
    return this.cluster.ways[index] as (typeof this.cluster.ways)[number];
  }

  /** The count in MySQL. */
  async stored(subject: string, metric: string): Promise<number> {
    const connection = await mysql.createConnection(this.cluster.mysql.url);
    try {
      const [rows] = await connection.query<mysql.RowDataPacket[]>(
        "SELECT count FROM counts JOIN metrics ON id = metric WHERE subject = ? AND name = ?",
        [Buffer.from(subject), metric],
      );
      return Number(rows[0]?.count ?? 0);
    } finally {
      await connection.end();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    await this.cluster.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
