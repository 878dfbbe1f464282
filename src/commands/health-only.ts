import type { Settings } from "../config.ts";
import { type Problem, unavailable } from "../errors.ts";
import { createAccess } from "../http/access.ts";
import { createHandler, type Handler } from "../http/app.ts";
import { Call, requestIds } from "../http/call.ts";
import type { Health } from "../http/health.ts";
import { problemAnswer } from "../http/problem.ts";
import { noAdmin, noCounting } from "../ports/no-counting.ts";
import { NO_VISITORS } from "../ports/no-visitors.ts";
import { Watch } from "../streams/watch.ts";
import { log } from "../telemetry/log.ts";
import { RequestStats, requestStatsMemory } from "../telemetry/requests.ts";

interface HealthOnly {
  health(): Health;
  /** The text of /metrics. */
  scrape?(): Promise<string>;
  requestStats?: SharedArrayBuffer;
  /** What every other address is answered with; null for those that answer as in a server. */
  refuse(path: string): Problem | null;
}

/** Answers of a process that does not count, by the rules of one that does: how it is, and 503 for the rest. */
export function healthOnly(settings: Settings, parts: HealthOnly): Handler {
  const nothing = noCounting("this process does not count");
  const handler = createHandler({
    settings,
    metrics: () => [],
    visitors: NO_VISITORS,
    peerOf: () => null,
    counting: nothing,
    histories: nothing,
    rankings: nothing,
    streams: new Watch({ counting: nothing, opened: () => undefined, failed: () => undefined }),
    holdOpen: () => undefined,
    admin: noAdmin("this process does not count"),
    health: () => parts.health(),
    scrape: () => parts.scrape?.() ?? Promise.reject(unavailable("there are no metrics yet")),
    usage: () => Promise.reject(unavailable("this process does not count")),
    stats: new RequestStats(parts.requestStats ?? requestStatsMemory(1), 0),
    log,
  });
  const access = createAccess(settings);
  const newRequestId = requestIds();
  return (request) => {
    const call = new Call(request, newRequestId);
    const problem = parts.refuse(call.path.whole);
    if (problem === null) return handler(request);
    try {
      // Protected mode comes first here too; nothing is asked for that would take credentials.
      access(call, -1);
      return problemAnswer(problem, call.id, log);
    } catch (error) {
      return problemAnswer(error, call.id, log);
    }
  };
}
