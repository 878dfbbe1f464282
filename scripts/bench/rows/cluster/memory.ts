import type { Bench } from "../../bench.ts";
import { type IdKind, subjectOf } from "../../fill-plan.ts";
import { atMost, type Finding } from "../../finding.ts";
import { metricNumber, readCounts, withMysql } from "../../ledger.ts";
import type { Row } from "../../row.ts";
import type { Stores } from "../../stores.ts";

const KINDS: readonly { ids: IdKind; example: string; megabytes: number }[] = [
  { ids: "decimal", example: "article/123456", megabytes: 12 },
  { ids: "uuid", example: "page/<UUID>", megabytes: 60 },
];
const COUNTERS = { full: 1_000_000, quick: 20_000 };
const ROWS_PER_STATEMENT = 10_000;
const COUNT_MAX = 10_000;
/** Of all counters, to see that what was asked for is what the ledger has. */
const SAMPLES = 1_000;
/** Until Redis has let go of what the reading took. */
const REST_MS = 2_000;
const MB = 1e6;

/** What Redis takes for counts that are at rest: in the ledger, all asked for once, nothing on its way. */
export const memory: Row = {
  name: "memory",
  async measure(bench) {
    const findings: Finding[] = [];
    for (const kind of KINDS) findings.push(await measureKind(bench, kind));
    return findings;
  },
};

async function measureKind(bench: Bench, { ids, example, megabytes }: (typeof KINDS)[number]): Promise<Finding> {
  const counters = bench.size(COUNTERS.full, COUNTERS);
  const stores = await bench.startStores();
  const node = await bench.startNode(stores);
  await fillLedger(stores.mysql.url, { ids, counters });
  const before = await usedBy(stores);
  await bench.fill(node, { kind: "reads", subjects: counters, ids });
  await Bun.sleep(REST_MS);
  const after = await usedBy(stores);
  await check(node.url, { ids, counters });
  const keys = await stores.redis.ask("DBSIZE");
  await node.stop();
  await stores.stop();
  const taken = after - before;
  return {
    what: `cluster: Redis memory for ${counters.toLocaleString("en")} counts of ${example} at rest`,
    goals: [atMost("taken", megabytes, "MB", taken / MB)],
    facts: { before, after, bytesPerCount: taken / counters, keys },
  };
}

/** Straight into the table: the way through a log would take minutes and leave the same rows. */
async function fillLedger(url: string, { ids, counters }: { ids: IdKind; counters: number }): Promise<void> {
  const metric = await metricNumber(url, "views");
  const subjects = Array.from({ length: counters }, (_, i) => [subjectOf(ids, i), countOf(i)] as const);
  subjects.sort(([a], [b]) => (a < b ? -1 : 1));
  await withMysql(url, async (query) => {
    for (let at = 0; at < counters; at += ROWS_PER_STATEMENT) {
      const rows = subjects.slice(at, at + ROWS_PER_STATEMENT).map(([subject, count]) => [subject, metric, count]);
      await query("INSERT INTO counts (subject, metric, count) VALUES ?", [rows]);
    }
  });
}

async function check(url: string, { ids, counters }: { ids: IdKind; counters: number }): Promise<void> {
  const places = Array.from({ length: SAMPLES }, (_, i) => Math.floor((i * counters) / SAMPLES));
  const counts = await readCounts(
    url,
    places.map((place) => `${subjectOf(ids, place)}/views`),
  );
  const wrong = places.findIndex((place, i) => counts[i] !== countOf(place));
  if (wrong >= 0) throw new Error(`${subjectOf(ids, places[wrong] as number)} shows ${counts[wrong]}`);
}

function countOf(place: number): number {
  return 1 + (place % COUNT_MAX);
}

async function usedBy({ redis }: Stores): Promise<number> {
  const used = /^used_memory:(\d+)/m.exec(String(await redis.ask("INFO", "memory")))?.[1];
  if (used === undefined) throw new Error("Redis does not say what memory it uses");
  return Number(used);
}
