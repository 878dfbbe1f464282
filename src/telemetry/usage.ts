import type { Metric } from "../model.ts";
import {
  BUCKETS_MS,
  type LeftOutReason,
  type RequestTotals,
  type RouteTotals,
  reasonsOf,
  requestTotals,
} from "./requests.ts";

/** What the ledger does not have yet of the log; what cannot be told is left out. */
export interface LogLag {
  lagBytes: number;
  lagMessages?: number;
  lagSeconds?: number;
}

interface UsageSources {
  /** What the request threads write: see requests.ts. */
  requests: SharedArrayBuffer;
  metrics: () => readonly Metric[];
  /** As /readyz tells it. */
  health: () => { status: string; parts: Readonly<Record<string, unknown>> };
  lag: () => LogLag;
  version: string;
  now?: () => number;
}

/** Rates and latencies are those of the last minute, by looks so far apart. */
const WINDOW_MS = 60_000;
const LOOK_EVERY_MS = 5_000;
const CLASSES = ["2xx", "3xx", "4xx", "5xx"] as const;
const QUANTILES = { p50: 0.5, p90: 0.9, p99: 0.99, p999: 0.999 } as const;

interface Look {
  atMs: number;
  totals: RequestTotals;
}

/** How the API is used, over all threads, for `GET /v1/stats`. Main's. */
export class Usage {
  readonly #sources: UsageSources;
  readonly #now: () => number;
  readonly #startedMs: number;
  /** Oldest first; the first one is as old as the window, or the start. */
  readonly #looks: Look[];

  constructor(sources: UsageSources) {
    this.#sources = sources;
    this.#now = sources.now ?? Date.now;
    this.#startedMs = this.#now();
    this.#looks = [this.#look()];
  }

  /** Looks from now on; never keeps a process alive. */
  watch(): void {
    setInterval(() => this.tick(), LOOK_EVERY_MS).unref();
  }

  tick(): void {
    const looks = this.#looks;
    looks.push(this.#look());
    while (looks.length > 2 && (looks[1] as Look).atMs <= this.#now() - WINDOW_MS) looks.shift();
  }

  json(): string {
    const { metrics, health, lag, version } = this.#sources;
    const { atMs, totals } = this.#look();
    const first = this.#looks[0] as Look;
    const windowS = Math.max(0.001, (atMs - first.atMs) / 1000);
    const perSecond = (now: number, then: number) => round((now - then) / windowS);
    const routes = totals.routes.flatMap((route, i) => {
      const before = first.totals.routes[i] as RouteTotals;
      return sum(route.answers) === 0 ? [] : [routeUsage(route, before, perSecond)];
    });
    const all = (look: RequestTotals) => look.routes.reduce((total, { answers }) => total + sum(answers), 0);
    const failed = (look: RequestTotals) => look.routes.reduce((total, { answers }) => total + (answers[3] ?? 0), 0);
    const { status, parts } = health();
    return JSON.stringify({
      version,
      startedAt: new Date(this.#startedMs).toISOString(),
      uptimeSeconds: Math.floor((atMs - this.#startedMs) / 1000),
      windowSeconds: round(windowS),
      requests: {
        total: all(totals),
        perSecond: perSecond(all(totals), all(first.totals)),
        errors: { total: failed(totals), perSecond: perSecond(failed(totals), failed(first.totals)) },
      },
      routes,
      metrics: metrics().map((metric) => metricUsage(metric, totals, first.totals, perSecond)),
      streams: totals.streams,
      status,
      stores: parts,
      log: lag(),
    });
  }

  #look(): Look {
    return { atMs: this.#now(), totals: requestTotals(this.#sources.requests) };
  }
}

type PerSecond = (now: number, then: number) => number;

function routeUsage({ route, answers, buckets }: RouteTotals, before: RouteTotals, perSecond: PerSecond) {
  const recent = buckets.map((count, i) => count - (before.buckets[i] ?? 0));
  return {
    route,
    total: sum(answers),
    perSecond: perSecond(sum(answers), sum(before.answers)),
    status: Object.fromEntries(CLASSES.map((name, i) => [name, answers[i] ?? 0])),
    latencyMs: sum(recent) === 0 ? null : quantiles(recent),
  };
}

function metricUsage(metric: Metric, totals: RequestTotals, before: RequestTotals, perSecond: PerSecond) {
  const { id, name, kind } = metric;
  const total = totals.events[id] ?? 0;
  const reasons = reasonsOf(metric);
  const leftOut = (reason: LeftOutReason) => [reason, totals.leftOut[reason][id] ?? 0] as const;
  return {
    metric: name,
    kind,
    total,
    perSecond: perSecond(total, before.events[id] ?? 0),
    ...(reasons.length > 0 && { leftOut: Object.fromEntries(reasons.map(leftOut)) }),
  };
}

function quantiles(buckets: readonly number[]): Record<keyof typeof QUANTILES, number> {
  const entries = Object.entries(QUANTILES).map(([name, q]) => [name, round(quantile(buckets, q))]);
  return Object.fromEntries(entries);
}

/** As Prometheus' histogram_quantile: evenly spread within a bucket; of the last one, which has no end, its beginning. */
export function quantile(buckets: readonly number[], q: number): number {
  const rank = q * sum(buckets);
  let below = 0;
  for (const [i, count] of buckets.entries()) {
    if (count > 0 && below + count >= rank) {
      const from = BUCKETS_MS[i - 1] ?? 0;
      const to = BUCKETS_MS[i] ?? from;
      return from + ((to - from) * (rank - below)) / count;
    }
    below += count;
  }
  return 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function round(number: number): number {
  return Math.round(number * 1000) / 1000;
}
