import { join } from "node:path";
import { freePort, HOST } from "./ports.ts";
import type { RedisServer } from "./redis.ts";
import { Server } from "./server.ts";

const TOKEN = "tally-upstash-token";

/**
 * Upstash's REST API before a Redis. It knows no transactions (`multi-exec`) and no base64, so that a client of
 * `@upstash/redis` needs `responseEncoding: false`.
 */
export class UpstashServer extends Server {
  readonly token = TOKEN;
  readonly #redisUrl: string;

  private constructor(port: number, redisUrl: string) {
    super("upstash", port);
    this.#redisUrl = redisUrl;
  }

  static async start(redis: Pick<RedisServer, "url">): Promise<UpstashServer> {
    const server = new UpstashServer(await freePort(), redis.url);
    await server.start();
    return server;
  }

  get url(): string {
    return `http://${HOST}:${this.port}`;
  }

  protected override async command(): Promise<string[]> {
    const script = join(import.meta.dir, "upstash-process.ts");
    return [process.execPath, script, String(this.port), this.#redisUrl, this.token];
  }

  protected override async fill(): Promise<void> {}

  protected override async answer(): Promise<void> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      body: JSON.stringify(["PING"]),
      signal: AbortSignal.timeout(1_000),
    });
    const { result } = (await response.json()) as { result?: unknown };
    if (result !== "PONG") throw new Error(`${response.status} ${result}`);
  }
}
