import type { Bench } from "../bench.ts";
import { atLeast, type Finding } from "../finding.ts";
import type { Load } from "../oha.ts";
import { pageBodies } from "../page-bodies.ts";
import type { Row } from "../row.ts";
import type { Server } from "../server.ts";
import { type ServerRun, summaryOf } from "../summary.ts";

const SUBJECTS = 10_000;
const EACH = 100;
/** Of 100 actors each has liked a tenth of the subjects. */
const LIKED = { kind: "likes", subjects: SUBJECTS, actors: 100, actorsEach: 10 } as const;
const PER_SECOND = 5_000;

/** A feed of a hundred posts, with all counts and what the reader did, in one request. */
export const pages: Row = {
  name: "pages",
  async measure(bench) {
    const tally = await bench.startTally(bench.scratch.directory());
    const finding = await measurePages(bench, tally, { what: "a page", perSecond: PER_SECOND });
    await tally.stop();
    return [finding];
  },
};

/** Fills a server and reads pages from it. */
export async function measurePages(
  bench: Bench,
  server: Server,
  goal: { what: string; perSecond: number },
): Promise<Finding> {
  await bench.fill(server, { kind: "views", subjects: SUBJECTS, digits: 4 });
  await bench.fill(server, LIKED);
  const bodies = pageBodies(bench, { subjects: SUBJECTS, digits: 4, actors: LIKED.actors, each: EACH });
  const load: Load = { method: "POST", path: "/v1/query", bodies };
  await bench.warm(server, load);
  const runs: ServerRun[] = [];
  for (let round = 0; round < bench.options.rounds; round++) runs.push(await bench.run(server, load));
  const tally = summaryOf(runs);
  return {
    what: `${goal.what}: ${EACH} subjects × 5 metrics, with mine`,
    goals: [atLeast("pages a second", goal.perSecond, tally.requestsPerSecond)],
    tally,
  };
}
