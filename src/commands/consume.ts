import type { Settings } from "../config.ts";
import { EXIT, unavailable } from "../errors.ts";
import { createHandler } from "../http/app.ts";
import { STOP_MS_MAX } from "../limits.ts";
import { openConsumer } from "../open.ts";
import { noAdmin, noCounting } from "../ports/no-counting.ts";
import { NO_VISITORS } from "../ports/no-visitors.ts";
import { Watch } from "../streams/watch.ts";
import { log } from "../telemetry/log.ts";
import { createPrometheus } from "../telemetry/prometheus.ts";
import { RequestStats, requestStatsMemory } from "../telemetry/requests.ts";
import { VERSION } from "../version.ts";
import { cannotListen } from "./listening.ts";
import { Stopping } from "./stopping.ts";

const NOTHING = noCounting("this process only brings the log into the ledger: ask a server");

/** The projector alone, with the three addresses that tell how it is. */
export async function run(settings: Settings): Promise<number> {
  const stopping = new Stopping();
  let broken: unknown = null;
  const consumer = await openConsumer(settings, {
    stopping: stopping.signal,
    changed: () => undefined,
    broken: (error) => {
      broken ??= error ?? new Error("a thread ended");
      log.error("the projector ended", { error });
      stopping.because("broken");
    },
  });
  const requests = requestStatsMemory(1);
  const readings = () => consumer.readings();
  const prometheus = createPrometheus({ requests, metrics: () => [], readings, version: VERSION });
  const server = listen(settings, {
    settings,
    metrics: () => [],
    visitors: NO_VISITORS,
    peerOf: () => null,
    counting: NOTHING,
    histories: NOTHING,
    rankings: NOTHING,
    streams: new Watch({ counting: NOTHING, opened: () => undefined, failed: () => undefined }),
    holdOpen: () => undefined,
    admin: noAdmin("this process only brings the log into the ledger: ask a server"),
    health: () => {
      const parts = consumer.parts();
      const isDegraded = Object.values(parts).some(({ status }) => status === "down");
      return { status: stopping.signal.aborted ? "draining" : isDegraded ? "degraded" : "ready", parts };
    },
    scrape: () => prometheus.scrape(),
    usage: () => Promise.reject(unavailable("this process only brings the log into the ledger: ask a server")),
    stats: new RequestStats(requests, 0),
    log,
  });
  log.info("listening", { url: server.url.href, version: VERSION });
  log.info("stopping", { reason: await stopping.reason });
  if (broken !== null) return EXIT.bug;
  setTimeout(() => process.exit(EXIT.bug), STOP_MS_MAX).unref();
  await consumer.stop();
  await server.stop(true);
  log.info("stopped");
  return EXIT.ok;
}

function listen(settings: Settings, deps: Parameters<typeof createHandler>[0]) {
  try {
    const fetch = createHandler(deps);
    return Bun.serve({ hostname: settings.host, port: settings.port, development: false, fetch });
  } catch (error) {
    throw cannotListen(settings, error);
  }
}
