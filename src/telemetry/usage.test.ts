import { describe, expect, test } from "bun:test";
import type { Metric } from "../model.ts";
import { BUCKETS_MS, RequestStats, ROUTES, requestStatsMemory } from "./requests.ts";
import { quantile, Usage } from "./usage.ts";

const POST = "POST /v1/subjects/:type/:id/:metric";
const METRICS: Metric[] = [
  { id: 1, name: "views", kind: "tally", unique: 1000, bots: "drop" },
  { id: 2, name: "likes", kind: "relation" },
];

function world() {
  const requests = requestStatsMemory(2);
  const threads = [new RequestStats(requests, 0), new RequestStats(requests, 1)] as const;
  const clock = { nowMs: Date.UTC(2026, 10, 20) };
  const usage = new Usage({
    requests,
    metrics: () => METRICS,
    health: () => ({ status: "ready", parts: { log: { status: "up" } } }),
    lag: () => ({ lagBytes: 7, lagSeconds: 0.25 }),
    version: "1.2.3",
    now: () => clock.nowMs,
  });
  const pass = (seconds: number) => {
    for (let i = 0; i < seconds; i += 5) {
      clock.nowMs += 5_000;
      usage.tick();
    }
  };
  return { threads, clock, pass, json: () => JSON.parse(usage.json()) };
}

describe("usage", () => {
  test("is told of all threads, since the start and by the second", () => {
    const { threads, clock, json } = world();
    clock.nowMs += 10_000;
    for (let i = 0; i < 30; i++) threads[i % 2]?.answered(ROUTES.indexOf(POST), 200, 0.3);
    threads[0].answered(ROUTES.indexOf(POST), 503, 700);
    threads[1].answered(ROUTES.indexOf("other"), 404, 0.05);
    threads[0].counted(1, 25);
    threads[1].counted(2, 5);
    threads[1].leftOut(1, "bot", 3);
    threads[0].streaming(4);
    expect(json()).toEqual({
      version: "1.2.3",
      startedAt: "2026-11-20T00:00:00.000Z",
      uptimeSeconds: 10,
      windowSeconds: 10,
      requests: { total: 32, perSecond: 3.2, errors: { total: 1, perSecond: 0.1 } },
      routes: [
        {
          route: POST,
          total: 31,
          perSecond: 3.1,
          status: { "2xx": 30, "3xx": 0, "4xx": 0, "5xx": 1 },
          latencyMs: { p50: 0.379, p90: 0.483, p99: 845, p999: 984.5 },
        },
        {
          route: "other",
          total: 1,
          perSecond: 0.1,
          status: { "2xx": 0, "3xx": 0, "4xx": 1, "5xx": 0 },
          latencyMs: { p50: 0.05, p90: 0.09, p99: 0.099, p999: 0.1 },
        },
      ],
      metrics: [
        { metric: "views", kind: "tally", total: 25, perSecond: 2.5, leftOut: { unique: 0, bot: 3 } },
        { metric: "likes", kind: "relation", total: 5, perSecond: 0.5 },
      ],
      streams: 4,
      status: "ready",
      stores: { log: { status: "up" } },
      log: { lagBytes: 7, lagSeconds: 0.25 },
    });
  });

  test("by the second and latencies are of the last minute, totals of all time", () => {
    const { threads, pass, json } = world();
    for (let i = 0; i < 600; i++) threads[0].answered(ROUTES.indexOf(POST), 200, 400);
    pass(30);
    expect(json()).toMatchObject({ windowSeconds: 30, requests: { total: 600, perSecond: 20 } });
    pass(300);
    expect(json()).toMatchObject({ windowSeconds: 60, requests: { total: 600, perSecond: 0 } });
    expect(json().routes[0]).toMatchObject({ total: 600, latencyMs: null });
    for (let i = 0; i < 120; i++) threads[1].answered(ROUTES.indexOf(POST), 200, 2);
    pass(5);
    expect(json().routes[0]).toMatchObject({ total: 720, perSecond: 2, latencyMs: { p50: 1.75, p99: 2.485 } });
    pass(60);
    expect(json().routes[0]).toMatchObject({ total: 720, perSecond: 0 });
  });
});

test.each<[counts: Record<number, number>, q: number, ms: number]>([
  [{ 0: 4 }, 0.5, 0.05],
  [{ 0: 4 }, 1, 0.1],
  [{ 0: 1, 3: 1 }, 0.5, 0.1],
  [{ 0: 1, 3: 1 }, 0.75, 0.75],
  [{ 3: 10 }, 0.1, 0.55],
  [{ 14: 1 }, 0.5, 5000],
  [{}, 0.5, 0],
])("quantiles lie within their bucket: %j at %d is %d ms", (counts, q, ms) => {
  const buckets = Array.from({ length: BUCKETS_MS.length + 1 }, (_, i) => counts[i] ?? 0);
  expect(quantile(buckets, q)).toBeCloseTo(ms, 9);
});
