import { RedisClient } from "bun";
import { redisPrograms } from "./install.ts";
import { freePort, HOST } from "./ports.ts";
import { Server, type Snapshot } from "./server.ts";

export interface RedisOptions {
  /** Every write goes to the disk before its answer ("always"), each second, or never (the default). */
  aof?: "always" | "everysec" | "no";
  /** Writes an RDB file when it stops, and at `save` points like "60 1". Without: never by itself. */
  save?: string;
  /** Further lines of its configuration, as flags: `["--maxmemory", "64mb"]`. */
  args?: string[];
}

/** One Redis. Its data are gone with the process unless `aof` or `save` says otherwise, or a snapshot was taken. */
export class RedisServer extends Server {
  readonly #options: RedisOptions;
  /** Where the nodes of a Redis Cluster talk to each other; null for one that stands alone. */
  readonly busPort: number | null;

  private constructor(port: number, options: RedisOptions, busPort: number | null = null) {
    super(busPort === null ? "redis" : "redis-node", port);
    this.#options = options;
    this.busPort = busPort;
  }

  static async start(options: RedisOptions = {}): Promise<RedisServer> {
    const redis = new RedisServer(await freePort(), options);
    await redis.start();
    return redis;
  }

  /** A node for a Redis Cluster, not started yet. */
  static async createNode(nodeTimeoutMs: number, args: string[]): Promise<RedisServer> {
    const busPort = await freePort();
    const flags = {
      "cluster-enabled": "yes",
      "cluster-port": busPort,
      "cluster-node-timeout": nodeTimeoutMs,
      "cluster-replica-validity-factor": 0, // a replica takes over however long it heard nothing
      "repl-diskless-sync-delay": 0, // and need not wait for others that want the same data
    };
    const own = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
    return new RedisServer(await freePort(), { args: [...own, ...args] }, busPort);
  }

  get url(): string {
    return `redis://${HOST}:${this.port}`;
  }

  /** Sends one command over a connection of its own. */
  async ask(command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new RedisClient(this.url, {
      autoReconnect: false,
      connectionTimeout: 2_000,
      enableOfflineQueue: true,
    });
    try {
      return await client.send(command, args.map(String));
    } finally {
      client.close();
    }
  }

  /** A copy of what it holds at this moment, while it runs. Without AOF only: an AOF has the newest anyway. */
  override async snapshot(): Promise<Snapshot> {
    if (this.state === "running" && !this.#options.aof) await this.ask("SAVE");
    return super.snapshot();
  }

  protected override async command(): Promise<string[]> {
    const { "redis-server": program = "" } = await redisPrograms();
    const { aof = "no", save = "", args = [] } = this.#options;
    const flags = {
      port: this.port,
      bind: HOST,
      dir: this.data,
      daemonize: "no",
      save,
      appendonly: aof === "no" ? "no" : "yes",
      ...(aof !== "no" && { appendfsync: aof }),
      "maxmemory-policy": "noeviction",
    };
    return [program, ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]), ...args];
  }

  protected override async fill(): Promise<void> {}

  protected override async answer(): Promise<void> {
    const pong = await this.ask("PING");
    if (pong !== "PONG") throw new Error(String(pong));
  }
}
