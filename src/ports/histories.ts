import type { Metric, Subject } from "../model.ts";

/**
 * How counts changed, as the ledger has it: what was counted in the last two seconds may be missing, and all else is there.
 *
 * Promises: the sum over all time is the count; `unavailable` where it cannot be known.
 */
export interface Histories {
  /**
   * By how much the count changed in each hour (its first second since 1970) from `from` on and before `to`, in their order;
   * hours without a change may be left out.
   */
  hours(metric: Metric, subject: Subject, from: number, to: number): HourAmounts | Promise<HourAmounts>;
}

export type HourAmounts = [at: number, amount: number][];
