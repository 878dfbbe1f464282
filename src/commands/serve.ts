import type { Settings } from "../config.ts";
import { EXIT, StartError } from "../errors.ts";
import { STOP_MS_MAX } from "../limits.ts";
import { type Node, openNode } from "../open.ts";
import { log } from "../telemetry/log.ts";
import { createPrometheus } from "../telemetry/prometheus.ts";
import { requestStatsMemory } from "../telemetry/requests.ts";
import { Usage } from "../telemetry/usage.ts";
import { VERSION } from "../version.ts";
import type { Health } from "../workers/messages.ts";
import { Pool } from "../workers/pool.ts";
import { cannotListen, ownPort } from "./listening.ts";
import { reloadOnSignal } from "./reloading.ts";
import { StartingServer } from "./starting-server.ts";
import { Stopping } from "./stopping.ts";

/** The server: open → start → wait for a signal → stop. */
export async function run(settings: Settings): Promise<number> {
  const began = performance.now();
  const stopping = new Stopping();
  const server = new Server(settings, stopping);
  const url = await server.start();
  const startMs = Math.round(performance.now() - began);
  log.always("listening", { url, version: VERSION, workers: settings.workers, data: settings.data, startMs });
  const reason = await stopping.reason;
  log.info("stopping", { reason });
  return server.stop();
}

class Server {
  #settings: Settings;
  #node: Node | null = null;
  #pool: Pool | null = null;
  #isDraining = false;
  #toldHealth = "";
  #broken: unknown = null;
  readonly #stopping: Stopping;
  /** What the start waits for, and who says so; null where nobody had to wait. */
  #awaited: Health["parts"] = {};
  #starting: Promise<StartingServer> | null = null;
  readonly #cannotWait = Promise.withResolvers<never>();

  constructor(settings: Settings, stopping: Stopping) {
    this.#settings = settings;
    this.#stopping = stopping;
  }

  async start(): Promise<string> {
    const settings = this.#settings;
    const started = Promise.withResolvers<{ node: Node; pool: Pool }>();
    reloadOnSignal(
      () => this.#settings,
      async (read) => this.#configure(await started.promise, read),
    );
    const opening = openNode(settings, {
      waits: (parts) => this.#wait(parts),
      changed: () => this.#tellHealth(),
      broken: (error) => {
        this.#broken ??= error ?? new Error("a thread ended");
        if (error instanceof StartError) log.error(`the server stops: ${error.message}`);
        else log.error("a thread of the store ended: the server stops, the next start recovers", { error });
        this.#stopping.because("broken");
      },
      stopping: this.#stopping.signal,
    });
    const node = await Promise.race([opening, this.#cannotWait.promise]);
    this.#node = node;
    const starting = await this.#starting;
    const requestStats = requestStatsMemory(settings.workers);
    const prometheus = createPrometheus({
      requests: requestStats,
      metrics: () => node.metrics,
      readings: () => [...node.readings(), ...this.#poolReadings()],
      version: VERSION,
    });
    const usage = new Usage({
      requests: requestStats,
      metrics: () => node.metrics,
      health: () => this.#health(),
      lag: () => node.lag(),
      version: VERSION,
    });
    usage.watch();
    const pool = new Pool(
      {
        workers: settings.workers,
        begin: (index, port) => {
          const { share, transfer } = node.join(index);
          const metrics = node.metrics;
          const data = { index, settings: this.#settings, metrics, health: this.#health(), port, requestStats, share };
          return { data, transfer };
        },
        ended: (index) => node.left(index),
        scrape: async (what) => (what === "stats" ? usage.json() : prometheus.scrape()),
        press: () => node.press(),
      },
      starting?.port ?? settings.port,
    );
    this.#pool = pool;
    pool.onChange(() => this.#tellHealth());
    if (starting === null) await ownPort(settings).catch((error) => this.#refuse(error));
    const url = await pool.start().catch((error) => this.#refuse(error));
    await starting?.stop();
    this.#tellHealth();
    started.resolve({ node, pool });
    return url;
  }

  #wait(parts: Health["parts"]): void {
    this.#awaited = parts;
    if (this.#starting !== null || this.#node !== null) return;
    this.#starting = StartingServer.listen(this.#settings, () => this.#awaited);
    this.#starting.catch(this.#cannotWait.reject);
  }

  async #refuse(error: unknown): Promise<never> {
    throw await cannotListen(this.#settings, error);
  }

  /** First no more requests, then everything they did becomes durable. A second signal ends at once. */
  async stop(): Promise<number> {
    if (this.#broken !== null) return EXIT.bug;
    this.#isDraining = true;
    this.#tellHealth();
    const deadline = setTimeout(() => {
      log.error("stopping took too long: ended; the next start recovers what was not flushed");
      process.exit(EXIT.bug);
    }, STOP_MS_MAX);
    await this.#pool?.drain();
    await this.#node?.stop();
    clearTimeout(deadline);
    log.info("stopped");
    return EXIT.ok;
  }

  async #configure({ node, pool }: { node: Node; pool: Pool }, settings: Settings): Promise<void> {
    const metrics = await node.configure(settings);
    this.#settings = settings;
    await pool.configure(settings, metrics);
  }

  #health(): Health {
    const parts: Health["parts"] = { ...this.#node?.parts(), workers: this.#pool?.part ?? { status: "up" } };
    const isDegraded = Object.values(parts).some((part) => part.status === "down");
    if (this.#isDraining) return { status: "draining", parts };
    if (this.#node?.isUnable) return { status: "unable", parts };
    return { status: isDegraded ? "degraded" : "ready", parts };
  }

  #tellHealth(): void {
    const health = this.#health();
    const text = JSON.stringify(health);
    if (text === this.#toldHealth) return;
    this.#toldHealth = text;
    this.#pool?.health(health);
  }

  #poolReadings() {
    const state = this.#pool?.state;
    return [
      { name: "tally_workers", help: "Request threads that listen", value: state?.listening ?? 0 },
      {
        name: "tally_worker_deaths_total",
        help: "Request threads that died",
        type: "counter" as const,
        value: state?.deaths ?? 0,
      },
    ];
  }
}
