import type { Metric } from "../model.ts";

/**
 * What the request threads count about themselves, in shared memory: one region for each thread, which alone writes it.
 *
 * Nothing is sent and nothing is lost when a thread dies: its successor goes on in the same region. Main only reads. A
 * number is one aligned 64-bit float, written and read whole by the processors we run on, exact to 2^53; a 32-bit
 * counter would wrap within a day at 100,000 requests a second.
 */

/** Every route there is, by the name that metrics show. The last takes what no route matched. */
export const ROUTES = [
  "POST /v1/subjects/:type/:id/:metric",
  "GET /v1/subjects/:type/:id",
  "GET /v1/subjects/:type/:id/:metric",
  "PUT /v1/subjects/:type/:id/:metric/:actor",
  "DELETE /v1/subjects/:type/:id/:metric/:actor",
  "GET /v1/subjects/:type/:id/:metric/:actor",
  "GET /v1/actors/:actor",
  "GET /v1/actors/:actor/:metric",
  "GET /v1/subjects",
  "POST /v1/query",
  "GET /v1/history/:type/:id/:metric",
  "GET /v1/top/:type/:metric",
  "POST /v1/events",
  "GET /v1/stream",
  "POST /v1/stream",
  "PUT /v1/subjects/:type/:id/:metric",
  "DELETE /v1/subjects/:type/:id",
  "DELETE /v1/actors/:actor",
  "POST /v1/merge",
  "GET /v1/stats",
  "GET /healthz",
  "GET /readyz",
  "GET /metrics",
  "other",
] as const;
export type RouteName = (typeof ROUTES)[number];
export const OTHER = ROUTES.length - 1;

/** Upper bounds of the duration buckets in milliseconds; a last one takes what is slower. */
export const BUCKETS_MS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000] as const;

/** Why a metric's rules left an event out. */
const LEFT_OUT_REASONS = ["unique", "bot", "ignored"] as const;
export type LeftOutReason = (typeof LEFT_OUT_REASONS)[number];

/** Those for which the metric has a rule. */
export function reasonsOf({ unique, bots, ignore = [] }: Metric): LeftOutReason[] {
  const has = { unique: unique !== undefined, bot: bots === "drop", ignored: ignore.length > 0 };
  return LEFT_OUT_REASONS.filter((reason) => has[reason]);
}

/** 2xx, 3xx, 4xx, 5xx. */
const STATUS_CLASSES = 4;
const SUM_MS = STATUS_CLASSES;
const FIRST_BUCKET = SUM_MS + 1;
const ROUTE_WORDS = FIRST_BUCKET + BUCKETS_MS.length + 1;
/** Metric ids are 1–255. */
const METRIC_WORDS = 256;
const EVENTS = ROUTES.length * ROUTE_WORDS;
/** For each reason as many as there are metrics. */
const LEFT_OUT = EVENTS + METRIC_WORDS;
const STREAMS = LEFT_OUT + LEFT_OUT_REASONS.length * METRIC_WORDS;
/** Whole cache lines, so that no two threads write the same one. */
const REGION_WORDS = Math.ceil((STREAMS + 1) / 8) * 8;

/** The memory for `threads` regions, all zero. */
export function requestStatsMemory(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * REGION_WORDS * Float64Array.BYTES_PER_ELEMENT);
}

/** One thread's region, to write. */
export class RequestStats {
  readonly #words: Float64Array;

  constructor(memory: SharedArrayBuffer, thread: number) {
    this.#words = new Float64Array(memory, thread * REGION_WORDS * Float64Array.BYTES_PER_ELEMENT, REGION_WORDS);
    // Those of a thread that died went with it.
    this.#words[STREAMS] = 0;
  }

  /** A request was answered. `route` is its place in ROUTES. */
  answered(route: number, status: number, durationMs: number): void {
    const words = this.#words;
    const start = route * ROUTE_WORDS;
    bump(words, start + (status < 300 ? 0 : status < 400 ? 1 : status < 500 ? 2 : 3), 1);
    bump(words, start + SUM_MS, durationMs);
    let bucket = 0;
    while (bucket < BUCKETS_MS.length && durationMs > (BUCKETS_MS[bucket] as number)) bucket++;
    bump(words, start + FIRST_BUCKET + bucket, 1);
  }

  /** `events` of a metric were taken. */
  counted(metricId: number, events: number): void {
    bump(this.#words, EVENTS + metricId, events);
  }

  /** `events` of a metric were left out by its rules. */
  leftOut(metricId: number, reason: LeftOutReason, events: number): void {
    bump(this.#words, LEFT_OUT + LEFT_OUT_REASONS.indexOf(reason) * METRIC_WORDS + metricId, events);
  }

  /** So many streams are open. */
  streaming(streams: number): void {
    this.#words[STREAMS] = streams;
  }
}

function bump(words: Float64Array, word: number, by: number): void {
  words[word] = (words[word] as number) + by;
}

export interface RouteTotals {
  route: RouteName;
  /** By class: 2xx, 3xx, 4xx, 5xx. */
  answers: number[];
  durationMs: number;
  /** How many fell in each bucket (not cumulative); the last is beyond all bounds. */
  buckets: number[];
}

export interface RequestTotals {
  routes: RouteTotals[];
  /** By metric id. */
  events: Float64Array;
  /** By reason, by metric id. */
  leftOut: Record<LeftOutReason, Float64Array>;
  /** Streams that are open now. */
  streams: number;
}

/** The sum over all threads. */
export function requestTotals(memory: SharedArrayBuffer): RequestTotals {
  const words = new Float64Array(memory);
  const sum = new Float64Array(REGION_WORDS);
  for (let i = 0; i < words.length; i++) bump(sum, i % REGION_WORDS, words[i] as number);
  const routes = ROUTES.map((route, i) => {
    const own = sum.subarray(i * ROUTE_WORDS, (i + 1) * ROUTE_WORDS);
    return {
      route,
      answers: [...own.subarray(0, STATUS_CLASSES)],
      durationMs: own[SUM_MS] as number,
      buckets: [...own.subarray(FIRST_BUCKET)],
    };
  });
  const metricsAt = (at: number) => sum.subarray(at, at + METRIC_WORDS);
  const leftOut = Object.fromEntries(
    LEFT_OUT_REASONS.map((reason, i) => [reason, metricsAt(LEFT_OUT + i * METRIC_WORDS)]),
  ) as RequestTotals["leftOut"];
  return { routes, events: metricsAt(EVENTS), leftOut, streams: sum[STREAMS] as number };
}
