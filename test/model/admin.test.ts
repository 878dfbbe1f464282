import { describe, expect, test } from "bun:test";
import { ADMIN_RULES, type AdminRule, runAdmin } from "./admin.model.ts";

const SCHEDULES = Number(process.env.TALLY_MODEL_SCHEDULES ?? 3_000);
const TRIAL_SCHEDULES_MAX = 5_000;

test("sets and erasures among acts, losses, deaths and late events keep every count", () => {
  for (let seed = 0; seed < SCHEDULES; seed++) {
    const problems = runAdmin({ seed });
    if (problems.length > 0) throw new Error(`seed ${seed}: ${problems[0]}`);
  }
}, 600_000);

describe("each rule is needed", () => {
  test.each(ADMIN_RULES)(
    "without %s something goes wrong",
    (rule) => {
      expect(firstSeen(rule)).toBeLessThan(TRIAL_SCHEDULES_MAX);
    },
    120_000,
  );
});

function firstSeen(without: AdminRule): number {
  for (let seed = 0; seed < TRIAL_SCHEDULES_MAX; seed++) if (runAdmin({ seed, without }).length > 0) return seed;
  return TRIAL_SCHEDULES_MAX;
}
