import { describe, expect, test } from "bun:test";
import { MIXES, type MixName } from "./cluster/mixes.ts";
import { RULES, type RuleName } from "./cluster/rules.ts";
import { run } from "./cluster.model.ts";

const SCHEDULES = Number(process.env.TALLY_MODEL_SCHEDULES ?? 50);
/** A missing rule shows within this many schedules of its mix. */
const TRIAL_SCHEDULES_MAX = 1_000;
/** In which mix a missing rule shows soonest; without an entry, in `redis`. */
const TRIAL_MIXES: Partial<Record<RuleName, MixName>> = {
  syncBeforeAnswer: "kafka",
  durableBeforePut: "power",
  resendUnknown: "power",
  spoolTold: "spools",
  spoolUntilShipped: "spools",
  oldSpoolUntilShipped: "spools",
  spoolRowsAnew: "spools",
  endAfterSpools: "spools",
  spoolsBeforeEnd: "spools",
  shipAtStart: "tallies",
  trimBehindLedger: "tallies",
  numbersKept: "tallies",
  resendPassed: "gaps",
  resendTruncated: "gaps",
  gapHolds: "gaps",
  wholeGroups: "tallies",
  lock: "calm",
  identity: "acts",
  uniqueEpoch: "keys",
  openEnd: "redis",
  replay: "keys",
  confirmEpoch: "losses",
  settleQuiet: "tallies",
  lowerEnd: "ruin",
  lookSettled: "acts",
  overlayFirst: "acts",
  putDecidesChanged: "calm",
  changedNeedsSettled: "acts",
  unknownClaimsNothing: "calm",
  onePutter: "calm",
  putLater: "stores",
  unseenTold: "blind",
  unseenBehindSpool: "blind",
  unseenUntilPut: "blind",
  unseenAsked: "blind",
  unseenApplied: "blind",
  unseenFirst: "blind",
  noteSequence: "tallies",
  sequenceFromAppend: "tallies",
  answerOnlyIfLast: "tallies",
  includedIsConfirmed: "tallies",
  unknownStaysOdd: "tallies",
  seenVersion: "tallies",
  versionsKept: "tallies",
  putBeforeShow: "tallies",
  ledgerPlusOutbox: "tallies",
  ledgerNeverLowers: "tallies",
  filterCovers: "calm",
  filterGap: "acts",
  fillReadsLate: "acts",
  lossBreaksFilling: "losses",
  renewDropsBases: "losses",
  keyNames: "keys",
  keyHint: "keys",
  keysDrop: "keys",
  ledgerKeys: "keys",
  retireQuiet: "retired",
  retireLocked: "retired",
  retireAdds: "retired",
  forgetOnlyThose: "retired",
  fieldsFirst: "retired",
  applyAsksRetired: "retired",
  rowsFirst: "retired",
  outboxAsksRetired: "retired",
  catchUpAsksRetired: "retired",
  catchUpKnowsAll: "retired",
  resendAsksFirst: "retired",
  putsEnd: "retired",
  hintFirst: "kafka",
  hintStamp: "calm",
};

/** Rules that few schedules need: trials begin here. */
const TRIAL_FROM: Partial<Record<RuleName, number>> = {
  spoolsBeforeEnd: 1_100,
  confirmEpoch: 200,
  lossBreaksFilling: 700,
  fieldsFirst: 1_400,
  forgetOnlyThose: 2_000,
  catchUpKnowsAll: 2_000,
  unseenBehindSpool: 3_000,
  unseenFirst: 2_000,
};

describe("the cluster keeps every count", () => {
  for (const mix of Object.keys(MIXES) as MixName[]) {
    test(`mix ${mix}`, () => {
      for (let seed = 0; seed < SCHEDULES; seed++) {
        const problems = run({ seed, mix });
        if (problems.length > 0) throw new Error(`seed ${seed} of ${mix}: ${problems[0]}`);
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
  const mix = TRIAL_MIXES[rule] ?? "redis";
  const from = TRIAL_FROM[rule] ?? 0;
  for (let trial = 0; trial < TRIAL_SCHEDULES_MAX; trial++)
    if (run({ seed: from + trial, mix, rules: { [rule]: false } }).length > 0) return trial;
  return TRIAL_SCHEDULES_MAX;
}
