import { startFilled } from "../dataset.ts";
import { atLeast } from "../finding.ts";
import type { Row } from "../row.ts";
import { LIKES } from "./likes.ts";

const SUBJECTS = 10_000;
const ACTORS = 1_000_000;
const ACTORS_EACH = { full: 2_000, quick: 20 };

/** Likes onto a large ledger against likes onto an empty one. */
export const rows: Row = {
  name: "rows",
  async measure(bench) {
    const actorsEach = bench.size(ACTORS_EACH.full, ACTORS_EACH);
    const count = SUBJECTS * actorsEach;
    const plan = { kind: "likes", subjects: SUBJECTS, actors: ACTORS, actorsEach } as const;
    const large = await startFilled(bench, `likes-${count}`, plan);
    const comparison = await bench.compare({
      async tally() {
        const run = await bench.run(large, LIKES);
        await bench.quiet(large);
        return run;
      },
      async against() {
        const data = bench.scratch.directory();
        const empty = await bench.startTally(data);
        const run = await bench.run(empty, LIKES);
        await bench.quiet(empty);
        await empty.stop();
        bench.scratch.remove(data);
        return run;
      },
    });
    await large.stop();
    return [
      {
        what: `likes at ${count.toLocaleString("en")} rows against an empty ledger`,
        goals: [atLeast("ratio", 0.7, comparison.ratio)],
        tally: comparison.tally,
        against: { name: "empty ledger", summary: comparison.against },
      },
    ];
  },
};
