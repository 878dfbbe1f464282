import { atLeast, atMost, type Finding } from "../finding.ts";
import type { Load } from "../oha.ts";
import { type Memory, memoryOf } from "../process.ts";
import type { Row } from "../row.ts";

const GB = 1e9;
/** Ids have as many digits for few subjects as for many, so that both sides send and parse the same. */
const DIGITS = 7;
const FEW = 1_000;
const COUNTERS = { full: 10_000_000, quick: 100_000 };

/** Views on many subjects against views on few, and the memory that many take. */
export const subjects: Row = {
  name: "subjects",
  async measure(bench) {
    const counters = bench.size(COUNTERS.full, COUNTERS);
    const many = await bench.startTally(bench.scratch.directory());
    const memoryEmpty = memoryOf(many.pid);
    const filled = await bench.fill(many, { kind: "views", subjects: counters, digits: DIGITS });
    const memoryFilled = memoryOf(many.pid);
    const few = await bench.startTally(bench.scratch.directory());
    const comparison = await bench.compare({
      async tally() {
        const run = await bench.run(many, loadOn(counters));
        await bench.quiet(many);
        return run;
      },
      async against() {
        const run = await bench.run(few, loadOn(FEW));
        await bench.quiet(few);
        return run;
      },
    });
    const memoryAfter = memoryOf(many.pid);
    await few.stop();
    await many.stop();
    return [
      {
        what: `views on ${counters.toLocaleString("en")} subjects against views on 1,000`,
        goals: [atLeast("ratio", 0.85, comparison.ratio)],
        tally: comparison.tally,
        against: { name: "1,000 subjects", summary: comparison.against },
        facts: { filled },
      },
      memoryFinding(counters, { memoryEmpty, memoryFilled, memoryAfter }),
    ];
  },
};

/** Random ids below a power of ten. */
function loadOn(count: number): Load {
  const random = Math.log10(count);
  const zeros = "0".repeat(DIGITS - random);
  return { method: "POST", path: `/v1/subjects/article/${zeros}[0-9]{${random}}/views` };
}

function memoryFinding(
  counters: number,
  memory: { memoryEmpty: Memory; memoryFilled: Memory; memoryAfter: Memory },
): Finding {
  const most = Math.max(memory.memoryFilled.resident, memory.memoryAfter.resident);
  return {
    what: `memory with ${counters.toLocaleString("en")} counters`,
    goals: [atMost("resident", 1.2, "GB", most / GB)],
    facts: memory,
  };
}
