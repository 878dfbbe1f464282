import { describe, expect, test } from "bun:test";
import { run } from "./arithmetic.model.ts";
import { type RuleName, WITHOUT } from "./rules.ts";

const SCHEDULES = Number(process.env.TALLY_MODEL_SCHEDULES ?? 3_000);
/** A missing rule shows within this many schedules of each kind. */
const TRIAL_SCHEDULES_MAX = 5_000;
const KINDS = [
  { lose: false, crash: false },
  { lose: false, crash: true },
  { lose: true, crash: false },
  { lose: true, crash: true },
];

describe("the arithmetic keeps every count", () => {
  for (const kind of KINDS) {
    test(`the hot store ${kind.lose ? "loses" : "keeps"} data, ${kind.crash ? "with" : "without"} crashes`, () => {
      for (let seed = 0; seed < SCHEDULES; seed++) {
        const problems = run({ ...kind, seed });
        if (problems.length > 0) throw new Error(`seed ${seed} of ${JSON.stringify(kind)}: ${problems[0]}`);
      }
    }, 600_000);
  }
});

describe("each rule is needed", () => {
  for (const rule of Object.keys(WITHOUT) as RuleName[]) {
    test(`without ${rule} a count goes wrong`, () => {
      expect(firstSeedSeen(rule)).toBeLessThan(TRIAL_SCHEDULES_MAX);
    }, 60_000);
  }
});

function firstSeedSeen(rule: RuleName): number {
  for (let seed = 0; seed < TRIAL_SCHEDULES_MAX; seed++)
    for (const kind of KINDS) if (run({ ...kind, seed, rules: WITHOUT[rule] }).length > 0) return seed;
  return TRIAL_SCHEDULES_MAX;
}
