import { atLeast } from "../finding.ts";
import type { Load } from "../oha.ts";
import type { Row } from "../row.ts";

const SUBJECTS = 10_000;
/** Of 100 actors who read, 10 have liked the subject: most readers have not. */
const LIKED = { kind: "likes", subjects: SUBJECTS, actors: 100, actorsEach: 10 } as const;
const LOAD: Load = { method: "GET", path: "/v1/subjects/article/[0-9]{4}\\?actor=0000[0-9]{2}" };
const ANSWER = {
  subject: "article/0042",
  counts: { views: 1235, shares: 0, likes: 12, favorites: 0, follows: 0 },
  mine: ["likes"],
};

/** Reading a subject's counts and what an actor did there. */
export const read: Row = {
  name: "read",
  async measure(bench) {
    const tally = await bench.startTally(bench.scratch.directory());
    await bench.fill(tally, { kind: "views", subjects: SUBJECTS, digits: 4 });
    await bench.fill(tally, LIKED);
    const bare = await bench.startBare(ANSWER);
    const comparison = await bench.compare({
      tally: () => bench.run(tally, LOAD),
      against: () => bench.run(bare, LOAD),
    });
    await bare.stop();
    await tally.stop();
    return [
      {
        what: "reading a subject with ?actor=",
        goals: [atLeast("ratio", 0.75, comparison.ratio)],
        tally: comparison.tally,
        against: { name: "bare Bun", summary: comparison.against },
      },
    ];
  },
};
