import type { Bench } from "../../bench.ts";
import { type FillPlan, requestOf } from "../../fill-plan.ts";
import { atMost } from "../../finding.ts";
import { gauge, metricsOf } from "../../gauges.ts";
import { readCounts } from "../../ledger.ts";
import { CONNECTIONS } from "../../oha.ts";
import type { Row } from "../../row.ts";
import type { Server } from "../../server.ts";
import type { Stores } from "../../stores.ts";
import { percentile, type Timed, timedLoad } from "../../timed-load.ts";

const COUNTERS = { full: 100_000, quick: 2_000 };
/** So far apart that in between nearly all counters change; flushes fall on multiples of it in a minute. */
const FLUSH_MS = { full: 15_000, quick: 6_000 };
/** Under load at least so many flushes. */
const FLUSHES_MIN = 3;
/** After a flush, until it is certainly over. */
const AFTER_MS = 2_000;
/** Before a flush the counters must have changed. */
const BEFORE_MS = 200;
const SAMPLES = 512;
const SHOWN_SECONDS_MAX = 30;
/** A flush that was over sooner is given this long to be noticed. */
const WINDOW_MS_MIN = 100;
/** Random counters, as often as they come, do not all change. */
const CHANGED_SHARE_MIN = 0.9;

interface Flush {
  readonly counters: number;
  readonly writtenSeconds: number;
  readonly shownSeconds: number;
}

/** A flush of many counters: how long it takes, until Redis shows them, and whether requests notice. */
export const flush: Row = {
  name: "flush",
  async measure(bench) {
    const counters = bench.size(COUNTERS.full, COUNTERS);
    const flushMs = bench.size(FLUSH_MS.full, FLUSH_MS);
    const plan = { kind: "views", subjects: counters, digits: 6 } as const;
    const stores = await bench.startStores();
    const node = await bench.startNode(stores, ["--flush-ms", String(flushMs)]);
    await bench.fill(node, plan);
    const alone = await flushAlone(bench, { stores, node, plan, flushMs });
    const before = await metricsOf(node.url);
    const windowMs = Math.max(alone.shownSeconds * 1000, WINDOW_MS_MIN);
    const seconds = Math.max(bench.options.likesSeconds, (FLUSHES_MIN * flushMs) / 1000);
    const request = () => requestOf(plan, Math.floor(Math.random() * counters));
    const { inside, outside } = divided(await timedLoad(node.url, { connections: CONNECTIONS, seconds, request }), {
      flushMs,
      windowMs,
    });
    const after = await metricsOf(node.url);
    const risen = (name: string) => gauge(after, name) - gauge(before, name);
    const underLoad = {
      flushes: risen("tally_flushes_total"),
      countersEach: risen("tally_flushed_counters_total") / risen("tally_flushes_total"),
    };
    await node.stop();
    const p99 = { inside: percentile(inside, 0.99), outside: percentile(outside, 0.99) };
    return [
      {
        what: `cluster: flush of ${alone.counters.toLocaleString("en")} changed counters`,
        goals: [
          atMost("written", 0.5, "s", alone.writtenSeconds),
          atMost("shown by Redis", 0.5, "s", alone.shownSeconds),
        ],
        facts: { ...alone },
      },
      {
        what: `cluster: views during a flush of ${Math.round(underLoad.countersEach).toLocaleString("en")} counters`,
        goals: [atMost("p99 against outside", 2, "", p99.inside / p99.outside)],
        facts: { p99Ms: p99, requests: { inside: inside.length, outside: outside.length }, windowMs, underLoad },
      },
    ];
  },
};

/** Changes every counter between two flushes and nothing else, and watches the second. */
async function flushAlone(
  bench: Bench,
  {
    stores,
    node,
    plan,
    flushMs,
  }: { stores: Stores; node: Server; plan: FillPlan & { kind: "views" }; flushMs: number },
): Promise<Flush> {
  // It has no slots for these counters, so each reading is what Redis has at that moment.
  const other = await bench.startNode(stores, ["--no-consumer"]);
  const paths = samplesOf(plan);
  await Bun.sleep(nextFlushMs(flushMs) - Date.now() + Math.min(AFTER_MS, flushMs / 4));
  const before = await metricsOf(node.url);
  const flushAtMs = nextFlushMs(flushMs);
  await bench.fillOnly(node, plan);
  const wanted = await readCounts(node.url, paths);
  const early = await readCounts(other.url, paths);
  if (Date.now() > flushAtMs - BEFORE_MS) throw new Error(`not all counters were changed within ${flushMs} ms`);
  if (early.some((count, i) => count >= (wanted[i] as number))) throw new Error("Redis shows what was not flushed");
  await Bun.sleep(flushAtMs - Date.now());
  const shownSeconds = (await untilShown(other, { paths, wanted })) - flushAtMs / 1000;
  const after = await metricsOf(node.url);
  const counters = gauge(after, "tally_flushed_counters_total") - gauge(before, "tally_flushed_counters_total");
  if (counters < plan.subjects * CHANGED_SHARE_MIN) throw new Error(`only ${counters} counters were flushed`);
  await other.stop();
  await bench.quiet(node);
  return { counters, writtenSeconds: gauge(after, "tally_flush_duration_seconds"), shownSeconds };
}

/** When all of them are shown: seconds since 1970. */
async function untilShown(
  { url }: Server,
  { paths, wanted }: { paths: readonly string[]; wanted: readonly number[] },
): Promise<number> {
  const untilMs = Date.now() + SHOWN_SECONDS_MAX * 1000;
  let missing = paths.map((path, i) => ({ path, count: wanted[i] as number }));
  while (missing.length > 0) {
    const counts = await readCounts(
      url,
      missing.map(({ path }) => path),
    );
    missing = missing.filter(({ count }, i) => (counts[i] as number) < count);
    if (Date.now() > untilMs) throw new Error(`${missing.length} of ${paths.length} counters are not shown`);
  }
  return Date.now() / 1000;
}

/** Counters that stand evenly among all, in any shard. */
function samplesOf({ subjects, digits }: FillPlan & { kind: "views" }): string[] {
  return Array.from({ length: SAMPLES }, (_, i) => {
    const id = Math.floor((i * subjects) / SAMPLES);
    return `article/${String(id).padStart(digits, "0")}/views`;
  });
}

/** The multiple of the interval that comes next in this minute, as the server reckons. */
function nextFlushMs(flushMs: number): number {
  const now = Date.now();
  const intoMinute = now % 60_000;
  return now + Math.min(flushMs - (intoMinute % flushMs), 60_000 - intoMinute);
}

/** Requests that were under way while a flush was, and the others. */
function divided({ beganMs, tookMs }: Timed, { flushMs, windowMs }: { flushMs: number; windowMs: number }) {
  const inside: number[] = [];
  const outside: number[] = [];
  for (const [i, began] of beganMs.entries()) {
    const took = tookMs[i] as number;
    const intoInterval = (began % 60_000) % flushMs;
    const isInside = intoInterval < windowMs || intoInterval + took >= flushMs;
    (isInside ? inside : outside).push(took);
  }
  return { inside: Float64Array.from(inside), outside: Float64Array.from(outside) };
}
