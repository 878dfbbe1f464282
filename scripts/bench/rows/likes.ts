import { atLeast, atMost } from "../finding.ts";
import { type Progress, progressOf } from "../gauges.ts";
import type { Load } from "../oha.ts";
import type { Row } from "../row.ts";

/** 10,000 subjects and 1,000,000 actors: nearly every like is a new one. */
export const LIKES: Load = { method: "PUT", path: "/v1/subjects/article/[0-9]{4}/likes/[0-9]{6}" };
export const LIKE_ANSWER = { active: true, changed: true, count: 12, at: "2026-11-20T12:00:00.000Z" };

/** Durable likes, with the projector running behind them. */
export const likes: Row = {
  name: "likes",
  async measure(bench) {
    const seconds = bench.options.likesSeconds;
    const tally = await bench.startTally(bench.scratch.directory());
    const bare = await bench.startBare(LIKE_ANSWER);
    const progress: (Progress & { readonly caughtUpSeconds: number })[] = [];
    const comparison = await bench.compare({
      async tally() {
        const run = await bench.run(tally, LIKES, { seconds });
        const atEnd = await progressOf(tally.url);
        const endedMs = performance.now();
        await bench.quiet(tally);
        progress.push({ ...atEnd, caughtUpSeconds: (performance.now() - endedMs) / 1000 });
        return run;
      },
      against: () => bench.run(bare, LIKES),
    });
    await bare.stop();
    await tally.stop();
    const lagSeconds = Math.max(...progress.map((round) => round.lagSeconds));
    return [
      {
        what: `likes, durable, 10,000 subjects × 1,000,000 actors, ${seconds} s`,
        goals: [
          atLeast("ratio", 0.55, comparison.ratio),
          atMost("p99", 10, "ms", comparison.tally.p99Ms),
          atMost("projector behind at the end", 2, "s", lagSeconds),
        ],
        tally: comparison.tally,
        against: { name: "bare Bun", summary: comparison.against },
        facts: { projector: progress },
      },
    ];
  },
};
