import type { Bench } from "../../bench.ts";
import { atLeast, atMost, type Finding } from "../../finding.ts";
import type { Row } from "../../row.ts";
import type { Server } from "../../server.ts";
import { type ServerRun, type Summary, summaryOf } from "../../summary.ts";
import { LIKE_ANSWER, LIKES } from "../likes.ts";

const FEW_CONNECTIONS = 8;
/** For each second of load, while it is not promised how fast the projector is: what is measured is when it is done. */
const CATCH_UP_PER_SECOND_MAX = 10;

/** Likes that Kafka has acknowledged and Redis shows, with the projector running behind them. */
export const clusterLikes: Row = {
  name: "likes",
  async measure(bench) {
    const seconds = bench.options.likesSeconds;
    const secondsMax = 60 + seconds * CATCH_UP_PER_SECOND_MAX;
    const stores = await bench.startStores();
    const node = await bench.startNode(stores);
    const bare = await bench.startBare(LIKE_ANSWER);
    await bench.warm(node, LIKES);
    const behindSeconds: number[] = [];
    const comparison = await bench.compare({
      async tally() {
        const run = await bench.run(node, LIKES, { seconds });
        behindSeconds.push(await bench.quiet(node, { secondsMax }));
        return run;
      },
      against: () => bench.run(bare, LIKES),
    });
    await bare.stop();
    const few = await withFew(bench, node);
    await node.stop();
    const { tally } = comparison;
    return [
      {
        what: `cluster: likes, in Kafka and shown by Redis, 10,000 subjects × 1,000,000 actors, ${seconds} s`,
        goals: [
          atLeast("ratio", 0.25, comparison.ratio),
          atMost("p50", 4, "ms", tally.p50Ms),
          atMost("p99", 15, "ms", tally.p99Ms),
          atMost("ledger behind at the end", 5, "s", Math.max(...behindSeconds)),
          atMost("answered 202", 0, "%", acceptedPercent(tally)),
        ],
        tally,
        against: { name: "bare Bun", summary: comparison.against },
        facts: { behindSeconds },
      },
      few,
    ];
  },
};

async function withFew(bench: Bench, node: Server): Promise<Finding> {
  const runs: ServerRun[] = [];
  for (let round = 0; round < bench.options.rounds; round++) {
    runs.push(await bench.run(node, LIKES, { connections: FEW_CONNECTIONS }));
    await bench.quiet(node);
  }
  const tally = summaryOf(runs);
  return {
    what: `cluster: likes at ${FEW_CONNECTIONS} connections`,
    goals: [atMost("p50", 1.5, "ms", tally.p50Ms), atMost("answered 202", 0, "%", acceptedPercent(tally))],
    tally,
  };
}

/** The share of acts that were durable and not shown: a rate with many of them is not what was promised. */
export function acceptedPercent({ rounds }: Summary): number {
  const sum = (field: "accepted" | "requests") => rounds.reduce((total, run) => total + run[field], 0);
  return (100 * sum("accepted")) / sum("requests");
}
