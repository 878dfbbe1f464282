import type { Bench } from "../bench.ts";
import { atMost } from "../finding.ts";
import { type Load, oha } from "../oha.ts";
import type { Row } from "../row.ts";
import type { Server } from "../server.ts";
import { median } from "../summary.ts";
import { LIKES } from "./likes.ts";

const COUNTERS = { full: 1_000_000, quick: 10_000 };
const STARTS = 5;
/** Before a SIGKILL, so that the start after it finds a log's tail and counters that were not flushed. */
const LOAD_SECONDS = 1;
const VIEWS: Load = { method: "POST", path: "/v1/subjects/article/[0-9]{6}/views" };

interface Start {
  readonly listeningMs: number;
  /** When the first request was answered, from the start of the process. */
  readonly answeredMs: number;
}

/** From the start of the process until it listens, after a clean stop and after a SIGKILL under load. */
export const start: Row = {
  name: "start",
  async measure(bench) {
    const counters = bench.size(COUNTERS.full, COUNTERS);
    const data = bench.scratch.directory();
    const first = await bench.startTally(data);
    await bench.fill(first, { kind: "views", subjects: counters, digits: 6 });
    await first.stop();
    const clean = await starts(bench, data, (server) => server.stop());
    const killed = await starts(bench, data, killUnderLoad);
    return [
      {
        what: `start to listening with ${counters.toLocaleString("en")} counters on disk`,
        goals: [
          atMost("after a clean stop", 0.5, "s", median(clean.map((one) => one.listeningMs)) / 1000),
          atMost("after SIGKILL", 0.5, "s", median(killed.map((one) => one.listeningMs)) / 1000),
        ],
        facts: { clean, killed },
      },
    ];
  },
};

/** Starts it several times, each after such an end. */
async function starts(bench: Bench, data: string, end: (server: Server) => Promise<void>): Promise<readonly Start[]> {
  const measured: Start[] = [];
  await end(await bench.startTally(data));
  for (let count = 0; count < STARTS; count++) {
    const startedMs = performance.now();
    const server = await bench.startTally(data);
    const response = await fetch(`${server.url}/v1/subjects/article/000001`);
    if (!response.ok) throw new Error(`the first read answers ${response.status}: ${await response.text()}`);
    measured.push({ listeningMs: server.listeningMs, answeredMs: performance.now() - startedMs });
    await end(server);
  }
  await (await bench.startTally(data)).stop();
  return measured;
}

async function killUnderLoad(server: Server): Promise<void> {
  await oha(server.url, VIEWS, { seconds: LOAD_SECONDS });
  await oha(server.url, LIKES, { seconds: LOAD_SECONDS });
  await server.kill();
}
