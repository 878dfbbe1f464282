import type { Settings } from "../config.ts";
import { unavailable } from "../errors.ts";
import type { NodePart } from "../ports/node.ts";
import { log } from "../telemetry/log.ts";
import { healthOnly } from "./health-only.ts";
import { cannotListen, ownPort } from "./listening.ts";

const RETRY_AFTER_S = 5;
const HEALTH: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);

/**
 * Listens in the place of the request threads while the start waits for others: it lives, and says what for. The threads
 * listen on the same port before this one ends, so that no caller finds nobody.
 */
export class StartingServer {
  readonly #server: Bun.Server<undefined>;

  private constructor(server: Bun.Server<undefined>) {
    this.#server = server;
  }

  /** `parts`: asked for each answer. Throws StartError where it cannot listen. */
  static async listen(settings: Settings, parts: () => Record<string, NodePart>): Promise<StartingServer> {
    const handler = healthOnly(settings, {
      health: () => ({ status: "starting", parts: parts() }),
      refuse: (path) => (HEALTH.has(path) ? null : unavailable(waitsFor(parts()), RETRY_AFTER_S)),
    });
    const fetch = async (request: Request) => {
      const answer = await handler(request);
      // Whoever comes again is to find the threads, on a connection of theirs.
      answer.headers.set("connection", "close");
      return answer;
    };
    const { host: hostname, port } = settings;
    try {
      await ownPort(settings);
      const server = Bun.serve({ hostname, port, reusePort: true, development: false, fetch });
      log.info("the start waits for others: until they are there all but /healthz and /readyz is 503", {
        url: server.url.href,
      });
      return new StartingServer(server);
    } catch (error) {
      throw await cannotListen(settings, error);
    }
  }

  get port(): number {
    return this.#server.port ?? 0;
  }

  async stop(): Promise<void> {
    await this.#server.stop(true);
  }
}

/** The stores as a person calls them. */
const NAMES: Record<string, string> = { redis: "Redis", kafka: "Kafka", mysql: "MySQL" };

function waitsFor(parts: Record<string, NodePart>): string {
  const away = Object.keys(parts).filter((name) => parts[name]?.status === "down");
  const names = away.map((name) => NAMES[name] ?? name);
  return `the server is starting${names.length > 0 ? `, and waits for ${names.join(" and ")}` : ""}`;
}
