import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { createHandler, type Handler } from "../http/app.ts";
import { problemAnswer } from "../http/problem.ts";
import { Garbage } from "../lib/garbage.ts";
import { Questions } from "../lib/questions.ts";
import { DRAIN_MS_MAX, REQUEST_BYTES_MAX } from "../limits.ts";
import { openThread, type ThreadShare } from "../open.ts";
import { Watch } from "../streams/watch.ts";
import { log } from "../telemetry/log.ts";
import { RequestStats } from "../telemetry/requests.ts";
import type { FromWorker, Scraped, ToWorker, WorkerData } from "./messages.ts";

/** How long a request that asks for much may be quiet; the longest answers before. */
const PATIENCE_S = 250;

/**
 * Requests between two collections of garbage, and of so many one is of everything. Half as many requests cost a view 1 µs of
 * processor more, a tenth; twice as many save nothing and keep 10 MB more for each thread.
 */
const COLLECT_EVERY = 4_000;
const FULL_EVERY = 32;

/** A worker thread: its own HTTP server on the shared port, its own app, its own connections to the stores. */
function main(data: WorkerData, main: MessagePort): void {
  let { settings, metrics, health } = data;
  const tell = (message: FromWorker) => main.postMessage(message);
  const thread = openThread(data.share as ThreadShare, () => tell({ kind: "press" }));
  const stats = new RequestStats(data.requestStats, data.index);
  const questions = new Questions<string | null>();
  const ask = async (what: Scraped): Promise<string> => {
    const text = await questions.ask((id) => tell({ kind: "scrape", id, what }));
    if (text === null) throw new Error("main could not render the metrics");
    return text;
  };
  const streams = new Watch({
    counting: thread.counting,
    past: thread.past,
    pastSince: thread.pastSince,
    opened: (open) => stats.streaming(open),
    failed: (error) => log.limited("stream", 10_000).error("a stream's counts could not be read", { error }),
  });
  const garbage = new Garbage(COLLECT_EVERY, FULL_EVERY);
  const answering = (): Handler =>
    createHandler({
      settings,
      metrics: () => metrics,
      counting: thread.counting,
      visitors: thread.visitors,
      peerOf: (request) => server.requestIP(request)?.address ?? null,
      histories: thread.histories,
      rankings: thread.rankings,
      streams,
      holdOpen: (request, seconds) => server.timeout(request, seconds),
      admin: thread.admin,
      patient: (request) => server.timeout(request, PATIENCE_S),
      health: () => health,
      scrape: () => ask("metrics"),
      usage: () => ask("stats"),
      stats,
      log,
      litter: (answers) => garbage.add(answers),
    });
  let handler = answering();
  const server: Bun.Server<undefined> = Bun.serve({
    hostname: settings.host,
    port: data.port,
    reusePort: true,
    maxRequestBodySize: REQUEST_BYTES_MAX,
    // Only where a thread dies in the middle of an answer; without it Bun would say 200 and welcome.
    development: false,
    error: () => problemAnswer(new Error("the request was cut off"), crypto.randomUUID(), log),
    fetch(request) {
      garbage.add(1);
      return handler(request);
    },
  });

  main.on("message", (message: ToWorker) => {
    switch (message.kind) {
      case "answer":
        questions.answer(message.id, message.text);
        break;
      case "settings":
        ({ settings, metrics } = message);
        handler = answering();
        tell({ kind: "configured" });
        break;
      case "health":
        health = message.health;
        break;
      case "drain":
        void drain();
    }
  });

  /** No new connections; streams end, requests under way finish, and idle connections are closed. */
  const drain = async () => {
    streams.closeAll();
    const done = server.stop(false);
    await Promise.race([done, Bun.sleep(DRAIN_MS_MAX)]);
    await server.stop(true);
    thread.close();
    tell({ kind: "drained" });
  };

  tell({ kind: "listening", url: server.url.href, port: server.port ?? data.port });
}

main(workerData as WorkerData, parentPort as unknown as MessagePort);
