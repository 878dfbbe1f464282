import { WINDOWS } from "../../../src/arithmetic/windows.ts";
import { atMost } from "../finding.ts";
import type { Load } from "../oha.ts";
import type { Row } from "../row.ts";

const SUBJECTS = { full: 1_000_000, quick: 100_000 };
const DIGITS = 6;
const TOP: Load = { method: "GET", path: `/v1/top/article/views\\?limit=100&window=(${WINDOWS.join("|")})` };
/** A busy site, not a full machine: what waits for a processor says nothing about rankings. */
const VIEWS_PER_SECOND = 10_000;
const CONNECTIONS = 8;

/** The top hundred of a million subjects, any window, while they are viewed. */
export const top: Row = {
  name: "top",
  async measure(bench) {
    const subjects = bench.size(SUBJECTS.full, SUBJECTS);
    const tally = await bench.startTally(bench.scratch.directory());
    await bench.fill(tally, { kind: "views", subjects, digits: DIGITS });
    const views: Load = { method: "POST", path: `/v1/subjects/article/[0-9]{${Math.log10(subjects)}}/views` };
    const { seconds, warmupSeconds } = bench.options;
    const both = seconds + warmupSeconds + 2;
    const [run, load] = await Promise.all([
      bench.run(tally, TOP, { connections: CONNECTIONS }),
      bench.load(tally, views, { connections: CONNECTIONS, seconds: both, perSecond: VIEWS_PER_SECOND }),
    ]);
    await tally.stop();
    return [
      {
        what: `top 100 of ${subjects.toLocaleString("en")} subjects under ${VIEWS_PER_SECOND.toLocaleString("en")} views/s`,
        goals: [atMost("p99", 5, "ms", run.p99Ms)],
        facts: { run, load },
      },
    ];
  },
};
