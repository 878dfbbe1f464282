import { COUNT_MAX } from "../../model.ts";
import type { TallyChange } from "../../ports/ledger.ts";

/** A tally after a change, and what the change adds to each step of its history: the count is their sum, always. */
export function changed(
  { added, sets, steps }: TallyChange,
  before: number,
): { count: number; steps: [number, number][] } {
  const history = new Map<number, number>(steps);
  const add = (step: number, amount: number) => history.set(step, (history.get(step) ?? 0) + amount);
  /** Amounts come with their step; what does not fit below the largest count goes off the last of them. */
  const overflowStep = steps.at(-1)?.[0] ?? 0;
  let count = before;
  const grow = (amount: number) => {
    const room = COUNT_MAX - count;
    if (amount > room) add(overflowStep, room - amount);
    count += Math.min(amount, room);
  };
  for (const set of sets ?? []) {
    grow(set.added);
    add(set.step, set.count - count);
    count = set.count;
  }
  grow(added);
  return { count, steps: [...history].filter(([, amount]) => amount !== 0) };
}
