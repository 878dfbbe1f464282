import { atLeast } from "../../finding.ts";
import type { Row } from "../../row.ts";
import { VIEWS } from "../views.ts";

const SUBJECTS = 10_000;

/** Views on a node of a cluster against views on the server that is all by itself. */
export const clusterViews: Row = {
  name: "views",
  async measure(bench) {
    const stores = await bench.startStores();
    const node = await bench.startNode(stores);
    const embedded = await bench.startTally(bench.scratch.directory());
    // The first view of a subject asks Redis for the others' share; what counts is what all later ones take.
    for (const server of [node, embedded]) await bench.fill(server, { kind: "views", subjects: SUBJECTS, digits: 4 });
    const comparison = await bench.compare({
      async tally() {
        const run = await bench.run(node, VIEWS);
        await bench.quiet(node);
        return run;
      },
      async against() {
        const run = await bench.run(embedded, VIEWS);
        await bench.quiet(embedded);
        return run;
      },
    });
    await embedded.stop();
    await node.stop();
    return [
      {
        what: "cluster: views, one a request, 10,000 subjects",
        goals: [atLeast("ratio", 0.9, comparison.ratio)],
        tally: comparison.tally,
        against: { name: "embedded", summary: comparison.against },
      },
    ];
  },
};
