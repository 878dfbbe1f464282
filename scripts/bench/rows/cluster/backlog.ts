import type { Bench } from "../../bench.ts";
import type { FillPlan } from "../../fill-plan.ts";
import { atMost } from "../../finding.ts";
import { gauge, metricsOf } from "../../gauges.ts";
import { metricNumber, readCounts } from "../../ledger.ts";
import { writeLikes } from "../../log-writer.ts";
import type { Row } from "../../row.ts";
import type { Server } from "../../server.ts";

const SUBJECTS = 10_000;
const ACTORS = 1_000_000;
const EVENTS = { full: 1_000_000, quick: 20_000 };
const SECONDS_MAX = 600;
const LOOK_MS = 100;

/**
 * A million likes that have gathered in Kafka while no projector ran: from the start of a node until MySQL has them all and
 * Redis, which held these counts before, shows them.
 */
export const backlog: Row = {
  name: "backlog",
  async measure(bench) {
    const events = bench.size(EVENTS.full, EVENTS);
    const plan = { kind: "likes", subjects: SUBJECTS, actors: ACTORS, actorsEach: events / SUBJECTS } as const;
    const stores = await bench.startStores();
    const waiting = await bench.startNode(stores, ["--no-consumer"]);
    if ((await shownSum(waiting, plan)) !== 0) throw new Error("counts before anything was counted");
    await waiting.stop();
    const metric = await metricNumber(stores.mysql.url, "likes");
    const written = await writeLikes({ brokers: stores.kafka.brokers, plan, metric });
    bench.say(`  ${events.toLocaleString("en")} events in ${written.messages.toLocaleString("en")} messages wait`);
    const beganMs = performance.now();
    const node = await bench.startNode(stores);
    const { listeningMs } = node;
    await untilApplied(bench, node, events);
    const seconds = (performance.now() - beganMs) / 1000;
    const shown = await shownSum(node, plan);
    if (shown !== events) throw new Error(`${events} likes are in the log, and Redis shows ${shown}`);
    await node.stop();
    return [
      {
        what: `cluster: ${events.toLocaleString("en")} likes waiting in Kafka, into MySQL and Redis`,
        goals: [atMost("done", 45, "s", seconds)],
        facts: { ...written, listeningMs, perSecond: events / seconds },
      },
    ];
  },
};

/** A projector counts records when MySQL has them, and messages as read when Redis was told, too. */
async function untilApplied(bench: Bench, node: Server, events: number): Promise<void> {
  const untilMs = performance.now() + SECONDS_MAX * 1000;
  let toldAt = 0;
  for (;;) {
    const text = await metricsOf(node.url);
    const applied = gauge(text, "tally_projector_records_total");
    if (applied >= events && gauge(text, "tally_projector_lag_messages") === 0) return;
    if (performance.now() > untilMs) throw new Error(`after ${SECONDS_MAX} s only ${applied} of ${events} are applied`);
    const tenths = Math.floor((10 * applied) / events);
    if (tenths > toldAt) bench.say(`  ${tenths * 10} %`);
    toldAt = tenths;
    await Bun.sleep(LOOK_MS);
  }
}

/** Reads every count, which also brings it into Redis. */
async function shownSum(node: Server, plan: FillPlan & { kind: "likes" }): Promise<number> {
  const paths = Array.from({ length: plan.subjects }, (_, i) => `article/${String(i).padStart(4, "0")}/likes`);
  return (await readCounts(node.url, paths)).reduce((sum, count) => sum + count, 0);
}
