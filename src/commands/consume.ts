import type { Settings } from "../config.ts";
import { EXIT, unavailable } from "../errors.ts";
import type { Handler } from "../http/app.ts";
import type { Health } from "../http/health.ts";
import { STOP_MS_MAX } from "../limits.ts";
import { openConsumer } from "../open.ts";
import type { NodePart } from "../ports/node.ts";
import { log } from "../telemetry/log.ts";
import { createPrometheus } from "../telemetry/prometheus.ts";
import { requestStatsMemory } from "../telemetry/requests.ts";
import { VERSION } from "../version.ts";
import { healthOnly } from "./health-only.ts";
import { cannotListen, ownPort } from "./listening.ts";
import { reloadOnSignal } from "./reloading.ts";
import { Stopping } from "./stopping.ts";

const ASK_A_SERVER = "this process only brings the log into the ledger: ask a server";

type Consumer = Awaited<ReturnType<typeof openConsumer>>;

/** The projector alone, with the three addresses that tell how it is; they answer while it waits for stores, too. */
export async function run(settings: Settings): Promise<number> {
  const stopping = new Stopping();
  let broken: unknown = null;
  let consumer: Consumer | null = null;
  let awaited: Record<string, NodePart> = {};
  const requestStats = requestStatsMemory(1);
  const readings = () => consumer?.readings() ?? [];
  const prometheus = createPrometheus({ requests: requestStats, metrics: () => [], readings, version: VERSION });
  const health = (): Health => {
    const parts = consumer?.parts() ?? awaited;
    const isDegraded = Object.values(parts).some(({ status }) => status === "down");
    if (stopping.signal.aborted) return { status: "draining", parts };
    return { status: consumer === null ? "starting" : isDegraded ? "degraded" : "ready", parts };
  };
  const answering = (now: Settings) =>
    healthOnly(now, {
      health,
      scrape: () => prometheus.scrape(),
      requestStats,
      // It knows no metrics, and would tell of every event that there is none of this name.
      refuse: (path) => (path.startsWith("/v1/") ? unavailable(ASK_A_SERVER) : null),
    });
  let current = settings;
  let handler = answering(current);
  reloadOnSignal(
    () => current,
    async (read) => {
      current = read;
      handler = answering(read);
    },
  );
  const server = await listen(settings, (request) => handler(request));
  const url = server.url.href;
  consumer = await openConsumer(settings, {
    stopping: stopping.signal,
    changed: () => undefined,
    waits: (parts) => {
      if (Object.keys(awaited).length === 0) log.info("the start waits for others", { url });
      awaited = parts;
    },
    broken: (error) => {
      broken ??= error ?? new Error("a thread ended");
      log.error("the projector ended", { error });
      stopping.because("broken");
    },
  });
  log.always("listening", { url, version: VERSION });
  log.info("stopping", { reason: await stopping.reason });
  if (broken !== null) return EXIT.bug;
  setTimeout(() => process.exit(EXIT.bug), STOP_MS_MAX).unref();
  await consumer.stop();
  await server.stop(true);
  log.info("stopped");
  return EXIT.ok;
}

async function listen(settings: Settings, fetch: Handler) {
  try {
    await ownPort(settings);
    return Bun.serve({ hostname: settings.host, port: settings.port, development: false, fetch });
  } catch (error) {
    throw await cannotListen(settings, error);
  }
}
