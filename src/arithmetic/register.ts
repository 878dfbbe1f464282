import type { Stamp } from "./stamp.ts";

/**
 * A relation of one actor to one subject is a last-writer-wins register that holds a stamp: 0 where nobody ever acted,
 * else when, and in its last bit whether active. The larger stamp stays. `max` is commutative, associative and
 * idempotent, so records may come in any order and any number of times; and as the count's change is the difference of the
 * bits before and after, the changes along any path from 0 to a register add up to its bit: the count is the number of
 * active registers.
 */
export function merge(stored: Stamp, incoming: Stamp): Stamp {
  return incoming > stored ? incoming : stored;
}

/** By how much the count of active actors changes when `incoming` arrives. */
export function countDelta(stored: Stamp, incoming: Stamp): -1 | 0 | 1 {
  if (incoming <= stored) return 0;
  return ((incoming % 2) - (stored % 2)) as -1 | 0 | 1;
}
