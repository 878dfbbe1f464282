import { describe, expect, test } from "bun:test";
import { createPrometheus } from "./prometheus.ts";
import { BUCKETS_MS, RequestStats, ROUTES, requestStatsMemory, requestTotals } from "./requests.ts";

const POST = ROUTES.indexOf("POST /v1/subjects/:type/:id/:metric");

describe("RequestStats", () => {
  test("sums over threads, and a successor goes on in the region of the one that died", () => {
    const memory = requestStatsMemory(3);
    const [first, second] = [new RequestStats(memory, 0), new RequestStats(memory, 2)];
    first.answered(POST, 200, 0.05);
    first.counted(255, 3);
    second.answered(POST, 503, 7000);
    new RequestStats(memory, 0).answered(POST, 404, 0.1);
    new RequestStats(memory, 0).counted(255, 1);
    const { routes, events } = requestTotals(memory);
    const { answers, durationMs, buckets } = routes[POST] as (typeof routes)[number];
    expect(answers).toEqual([1, 0, 1, 1]);
    expect(durationMs).toBeCloseTo(7000.15);
    expect(buckets).toEqual([2, ...Array(BUCKETS_MS.length - 1).fill(0), 1]);
    expect(events[255]).toBe(4);
    expect(routes.filter(({ answers }) => answers.some(Boolean))).toHaveLength(1);
  });
});

describe("the text of a scrape", () => {
  test("has requests, durations, events, readings and the process", async () => {
    const requests = requestStatsMemory(1);
    const stats = new RequestStats(requests, 0);
    stats.answered(POST, 200, 0.2);
    stats.answered(POST, 200, 3);
    stats.answered(ROUTES.length - 1, 404, 9999);
    stats.counted(1, 5);
    const { scrape, contentType } = createPrometheus({
      requests,
      metrics: () => [{ id: 1, name: "views", kind: "tally" }],
      readings: () => [
        { name: "tally_counters", help: "Counters in memory", value: 3 },
        { name: "tally_part_up", help: "1 where it works", value: 1, labels: { part: 'a"b' } },
        { name: "tally_part_up", help: "1 where it works", value: 0, labels: { part: "c" } },
        { name: "tally_notes_total", help: "Notes", type: "counter", value: 8 },
      ],
      version: "1.2.3",
    });
    const text = await scrape();
    const route = 'method="POST",route="/v1/subjects/:type/:id/:metric"';
    for (const line of [
      'tally_build_info{version="1.2.3"} 1',
      `tally_http_requests_total{${route},status="2xx"} 2`,
      'tally_http_requests_total{method="",route="other",status="4xx"} 1',
      "# TYPE tally_http_request_duration_seconds histogram",
      `tally_http_request_duration_seconds_bucket{le="0.0001",${route}} 0`,
      `tally_http_request_duration_seconds_bucket{le="0.00025",${route}} 1`,
      `tally_http_request_duration_seconds_bucket{le="0.005",${route}} 2`,
      `tally_http_request_duration_seconds_bucket{le="+Inf",${route}} 2`,
      `tally_http_request_duration_seconds_sum{${route}} 0.0032`,
      `tally_http_request_duration_seconds_count{${route}} 2`,
      'tally_http_request_duration_seconds_bucket{le="5",method="",route="other"} 0',
      'tally_events_total{metric="views"} 5',
      "# TYPE tally_counters gauge",
      "tally_counters 3",
      'tally_part_up{part="a\\"b"} 1',
      'tally_part_up{part="c"} 0',
      "# TYPE tally_notes_total counter",
      "tally_notes_total 8",
    ])
      expect(text.split("\n")).toContain(line);
    expect(text).toContain("\nprocess_resident_memory_bytes ");
    expect(text.match(/# TYPE tally_part_up/g)).toHaveLength(1);
    expect(text.endsWith("\n")).toBeTrue();
    expect(contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
    stats.counted(1, 1);
    expect(await scrape()).toContain('tally_events_total{metric="views"} 6');
  });
});
