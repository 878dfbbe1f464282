import type { Settings } from "../config.ts";
import { EXIT, unavailable } from "../errors.ts";
import { type AppDeps, createHandler, type Handler } from "../http/app.ts";
import { Call, requestIds } from "../http/call.ts";
import { problemAnswer } from "../http/problem.ts";
import { STOP_MS_MAX } from "../limits.ts";
import { openConsumer } from "../open.ts";
import { noAdmin, noCounting } from "../ports/no-counting.ts";
import { NO_VISITORS } from "../ports/no-visitors.ts";
import { Watch } from "../streams/watch.ts";
import { log } from "../telemetry/log.ts";
import { createPrometheus } from "../telemetry/prometheus.ts";
import { RequestStats, requestStatsMemory } from "../telemetry/requests.ts";
import { VERSION } from "../version.ts";
import { cannotListen, ownPort } from "./listening.ts";
import { Stopping } from "./stopping.ts";

const ASK_A_SERVER = "this process only brings the log into the ledger: ask a server";
const NOTHING = noCounting(ASK_A_SERVER);

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
  const server = await listen(settings, {
    settings,
    metrics: () => [],
    visitors: NO_VISITORS,
    peerOf: () => null,
    counting: NOTHING,
    histories: NOTHING,
    rankings: NOTHING,
    streams: new Watch({ counting: NOTHING, opened: () => undefined, failed: () => undefined }),
    holdOpen: () => undefined,
    admin: noAdmin(ASK_A_SERVER),
    health: () => {
      const parts = consumer.parts();
      const isDegraded = Object.values(parts).some(({ status }) => status === "down");
      return { status: stopping.signal.aborted ? "draining" : isDegraded ? "degraded" : "ready", parts };
    },
    scrape: () => prometheus.scrape(),
    usage: () => Promise.reject(unavailable(ASK_A_SERVER)),
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

async function listen(settings: Settings, deps: AppDeps) {
  try {
    await ownPort(settings);
    const fetch = onlyHealth(createHandler(deps), deps);
    return Bun.serve({ hostname: settings.host, port: settings.port, development: false, fetch });
  } catch (error) {
    throw cannotListen(settings, error);
  }
}

/** It knows no metrics, and would tell of every event that there is none of this name. */
function onlyHealth(handler: Handler, { log }: Pick<AppDeps, "log">): Handler {
  const newRequestId = requestIds();
  return (request) => {
    const { path, id } = new Call(request, newRequestId);
    return path.startsWith("/v1/") ? problemAnswer(unavailable(ASK_A_SERVER), id, log) : handler(request);
  };
}
