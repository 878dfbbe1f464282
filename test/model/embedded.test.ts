import { describe, expect, test } from "bun:test";
import { RULES, type RuleName } from "./embedded/rules.ts";
import { type MixName, run } from "./embedded.model.ts";

const SCHEDULES = Number(process.env.TALLY_MODEL_SCHEDULES ?? 1_000);
/** A missing rule shows within this many schedules of its mix. */
const TRIAL_SCHEDULES_MAX = 2_000;
/** In which mix a missing rule shows soonest; without an entry, in the shortest. */
const TRIAL_MIXES: Partial<Record<RuleName, MixName>> = {
  noteFirst: "tallies",
  sameSource: "tallies",
  freshTable: "tallies",
  room: "tallies",
  fold: "tallies",
  foldFirst: "tallies",
  lookAgain: "keys",
  clockStartsAbove: "relations",
  writerClears: "relations",
  generationNumber: "clears",
  overlayFirst: "relations",
  readNewestFirst: "relations",
  clearOldestFirst: "relations",
  roomBeforeAppend: "relations",
  cutAfterMerge: "relations",
  tombstonesHide: "relations",
  keyedAlways: "relations",
};

describe("the embedded server keeps every count", () => {
  for (const crash of [false, true]) {
    test(crash ? "while it and its workers are killed" : "while nobody is killed", () => {
      for (let seed = 0; seed < SCHEDULES; seed++) {
        const problems = run({ crash, seed });
        if (problems.length > 0) throw new Error(`seed ${seed}, crash ${crash}: ${problems[0]}`);
      }
    }, 1_800_000);
  }
});

describe("each rule is needed", () => {
  for (const rule of Object.keys(RULES) as RuleName[]) {
    test(`without ${rule} something is wrong`, () => {
      expect(firstSeedSeen(rule)).toBeLessThan(TRIAL_SCHEDULES_MAX);
    }, 60_000);
  }
});

function firstSeedSeen(rule: RuleName): number {
  const mix = TRIAL_MIXES[rule] ?? "starts";
  for (let seed = 0; seed < TRIAL_SCHEDULES_MAX; seed++)
    for (const crash of [true, false]) if (run({ seed, crash, mix, rules: { [rule]: false } }).length > 0) return seed;
  return TRIAL_SCHEDULES_MAX;
}
