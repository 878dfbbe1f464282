import { atLeast } from "../finding.ts";
import type { Load } from "../oha.ts";
import type { Row } from "../row.ts";

export const VIEWS: Load = { method: "POST", path: "/v1/subjects/article/[0-9]{4}/views" };
const ANSWER = { count: 1235 };

/** One view a request over 10,000 subjects. */
export const views: Row = {
  name: "views",
  async measure(bench) {
    const tally = await bench.startTally(bench.scratch.directory());
    const bare = await bench.startBare(ANSWER);
    const comparison = await bench.compare({
      async tally() {
        const run = await bench.run(tally, VIEWS);
        await bench.quiet(tally);
        return run;
      },
      against: () => bench.run(bare, VIEWS),
    });
    await bare.stop();
    await tally.stop();
    return [
      {
        what: "views, one a request, 10,000 subjects",
        goals: [atLeast("ratio", 0.9, comparison.ratio)],
        tally: comparison.tally,
        against: { name: "bare Bun", summary: comparison.against },
      },
    ];
  },
};
