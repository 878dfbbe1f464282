import { EPOCH_MS } from "../arithmetic/stamp.ts";
import { COUNT_MAX } from "../model.ts";

/**
 * The hour for what was counted nobody knows when: the first one that an act can have. What a ledger keeps as "before all
 * hours" is exported as of it, too, so that it comes back as what it was.
 */
export const UNKNOWN_HOUR_S = EPOCH_MS / 1000;
/** A line's hours; 40,000 are four and a half years in which none was quiet. What is older goes into the unknown hour. */
export const STEPS_MAX = 40_000;

/**
 * Rising hours with their amounts, none of them 0, and not too many. What passes the largest count is not shown anywhere (lines of a
 * keyed body count whatever there was), so it is not exported: no import would take it.
 */
export function tidySteps(steps: readonly [at: number, amount: number][]): [at: number, amount: number][] {
  const from = steps.length > STEPS_MAX ? (steps[steps.length - STEPS_MAX] as [number, number])[0] : UNKNOWN_HOUR_S;
  let unknown = 0;
  const kept: [number, number][] = [];
  for (const [at, amount] of steps) {
    if (at <= UNKNOWN_HOUR_S || at < from) unknown += amount;
    else if (amount !== 0) kept.push([at, amount]);
  }
  const all: [number, number][] = unknown === 0 ? kept : [[UNKNOWN_HOUR_S, unknown], ...kept];
  let room = COUNT_MAX;
  for (const step of all) {
    step[1] = Math.min(step[1], room);
    room -= step[1];
  }
  return room > 0 ? all : all.filter(([, amount]) => amount !== 0);
}
