import { collectDefaultMetrics, type Metric as PromMetric, Registry } from "prom-client";
import type { Metric } from "../model.ts";
import { BUCKETS_MS, type RequestTotals, type RouteTotals, reasonsOf, requestTotals } from "./requests.ts";

/** How often the lag of main's event loop is measured. By default it is 10 ms, a quarter of what an idle node takes in all. */
const LAG_LOOK_MS = 100;

/** A number that some part of the process knows about itself, named and described as Prometheus shows it. */
export interface Reading {
  name: string;
  help: string;
  /** `counter`: only ever rises. */
  type?: "gauge" | "counter";
  value: number;
  labels?: Record<string, string>;
}

interface PrometheusSources {
  /** What the request threads write: see requests.ts. */
  requests: SharedArrayBuffer;
  metrics: () => readonly Metric[];
  /** Asked at every scrape; readings of one name may differ in their labels. */
  readings?: () => readonly Reading[] | Promise<readonly Reading[]>;
  version: string;
}

export interface Prometheus {
  contentType: string;
  /** The text of a scrape, over all threads. */
  scrape(): Promise<string>;
}

interface Sample {
  value: number;
  labels: Record<string, string | number>;
  metricName?: string;
}

const CLASSES = ["2xx", "3xx", "4xx", "5xx"];

/**
 * The registry of main. Its own metrics are sums made at the scrape, so they are given to prom-client ready-made:
 * its Counter can only be incremented and its Histogram only observed one by one.
 */
export function createPrometheus(sources: PrometheusSources): Prometheus {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LAG_LOOK_MS });
  const show = (name: string, type: string, help: string, values: () => Sample[]) =>
    registry.registerMetric(shown({ name, type, help, values }));

  let totals: RequestTotals = requestTotals(sources.requests);
  show("tally_build_info", "gauge", "The version that runs, as a label", () => [
    { value: 1, labels: { version: sources.version } },
  ]);
  show("tally_http_requests_total", "counter", "HTTP requests answered, by route and class of status", () =>
    totals.routes.flatMap(requestSamples),
  );
  show("tally_http_request_duration_seconds", "histogram", "Time from a request to its answer", () =>
    totals.routes.filter((route) => route.buckets.some(Boolean)).flatMap(durationSamples),
  );
  show("tally_events_total", "counter", "Events taken: the sum of `by` of tallies, the acts of relations", () =>
    sources.metrics().map(({ id, name }) => ({ value: totals.events[id] ?? 0, labels: { metric: name } })),
  );
  show("tally_left_out_total", "counter", "Events that a metric's rules left out: the sum of `by`", () =>
    sources.metrics().flatMap((metric) =>
      reasonsOf(metric).map((reason) => ({
        value: totals.leftOut[reason][metric.id] ?? 0,
        labels: { metric: metric.name, reason },
      })),
    ),
  );
  show("tally_streams", "gauge", "Streams that are open", () => [{ value: totals.streams, labels: {} }]);

  return {
    contentType: registry.contentType,
    async scrape() {
      totals = requestTotals(sources.requests);
      const own = await registry.metrics();
      return own + (await readingsText((await sources.readings?.()) ?? []));
    },
  };
}

function shown(metric: { name: string; type: string; help: string; values: () => Sample[] }): PromMetric<string> {
  const { name, type, help } = metric;
  const get = async () => ({ name, type, help, values: metric.values(), aggregator: "sum" });
  return { name, get } as unknown as PromMetric<string>;
}

/** Each scrape in a registry of its own: what is read may come and go. */
async function readingsText(readings: readonly Reading[]): Promise<string> {
  if (readings.length === 0) return "";
  const registry = new Registry();
  for (const [name, same] of Map.groupBy(readings, (reading) => reading.name)) {
    const { help, type = "gauge" } = same[0] as Reading;
    const values = () => same.map(({ value, labels = {} }) => ({ value, labels }));
    registry.registerMetric(shown({ name, type, help, values }));
  }
  return `\n${await registry.metrics()}`;
}

function labelsOf(route: string): Record<string, string> {
  const space = route.indexOf(" ");
  return space < 0 ? { method: "", route } : { method: route.slice(0, space), route: route.slice(space + 1) };
}

function requestSamples({ route, answers }: RouteTotals): Sample[] {
  const labels = labelsOf(route);
  return answers.flatMap((value, i) =>
    value === 0 ? [] : [{ value, labels: { ...labels, status: CLASSES[i] ?? "" } }],
  );
}

function durationSamples({ route, buckets, durationMs }: RouteTotals): Sample[] {
  const labels = labelsOf(route);
  const name = "tally_http_request_duration_seconds";
  let below = 0;
  const samples: Sample[] = buckets.map((count, i) => {
    below += count;
    const boundMs = BUCKETS_MS[i];
    const le = boundMs === undefined ? "+Inf" : boundMs / 1000;
    return { metricName: `${name}_bucket`, value: below, labels: { le, ...labels } };
  });
  samples.push({ metricName: `${name}_sum`, value: durationMs / 1000, labels });
  samples.push({ metricName: `${name}_count`, value: below, labels });
  return samples;
}
