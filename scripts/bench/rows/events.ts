import { RedisServer } from "../../services/redis.ts";
import type { Bench } from "../bench.ts";
import { startChild } from "../children.ts";
import { type EventFormat, NO_LATENCIES, sendEvents } from "../events-load.ts";
import { atLeast } from "../finding.ts";
import { cpuSecondsOf } from "../process.ts";
import type { Row } from "../row.ts";
import type { Server } from "../server.ts";
import type { ServerRun } from "../summary.ts";

const GOALS: Record<EventFormat, number> = { text: 1, ndjson: 0.4 };
/** What it does in a second at most; it is told how many requests to send, not for how long. */
const INCR_PER_SECOND = 1_500_000;

/** Lines of events on one connection against Redis's own benchmark of INCR, pipelined, on the same processors. */
export const events: Row = {
  name: "events",
  async measure(bench) {
    const tally = await bench.startTally(bench.scratch.directory());
    const redis = await RedisServer.start();
    const findings = [];
    try {
      for (const format of ["text", "ndjson"] as const) {
        const comparison = await bench.compare({
          tally: () => lines(bench, tally, format),
          against: () => increments(bench, redis),
        });
        findings.push({
          what: `events as ${format}, lines a second on one connection, by 1 over 100,000 subjects`,
          goals: [atLeast("ratio", GOALS[format], comparison.ratio)],
          tally: comparison.tally,
          against: { name: "redis-benchmark -t incr -r 100000 -c 16 -P 100", summary: comparison.against },
        });
      }
    } finally {
      await redis.stop();
    }
    await tally.stop();
    return findings;
  },
};

async function lines(bench: Bench, server: Server, format: EventFormat): Promise<ServerRun> {
  await sendEvents(server.url, format, bench.options.warmupSeconds);
  const before = cpuSecondsOf(server.pid);
  const run = await sendEvents(server.url, format, bench.options.seconds);
  const cpuSeconds = cpuSecondsOf(server.pid) - before;
  await bench.quiet(server);
  return { ...run, cpuMicrosPerRequest: (cpuSeconds / run.requests) * 1e6 };
}

async function increments(bench: Bench, redis: RedisServer): Promise<ServerRun> {
  const program = Bun.which("redis-benchmark");
  if (!program) throw new Error("redis-benchmark is missing: it comes with redis-server");
  const requests = Math.ceil(INCR_PER_SECOND * bench.options.seconds);
  const load = ["-t", "incr", "-r", "100000", "-c", "16", "-P", "100", "-n", String(requests), "--csv"];
  const child = startChild([program, "-p", String(redis.port), ...load]);
  const [output] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const rate = Number(/^"INCR","([\d.]+)"/m.exec(output)?.[1]);
  if (!(rate > 0)) throw new Error(`redis-benchmark said: ${output}`);
  return { requests, accepted: 0, requestsPerSecond: rate, ...NO_LATENCIES, cpuMicrosPerRequest: 0 };
}
