import { isActive, msOf, type Stamp } from "./stamp.ts";

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

/**
 * What a register's way from `stored` to `stamp` adds to its history, told as (millisecond since 1970, ±1): each change of
 * the bit counts when it happened, and an actor who is active counts at the stamp that the lists show. So a register whose
 * active stamp is replaced by a later one takes its 1 along. `way`: rising stamps it had in between.
 *
 * All of it adds up to `countDelta(stored, stamp)`, whatever the way.
 */
export function tellChanges(
  stored: Stamp,
  way: readonly Stamp[] | undefined,
  stamp: Stamp,
  tell: (atMs: number, amount: 1 | -1) => void,
): void {
  let before = stored;
  if (way) {
    for (const next of way) {
      tellChange(before, next, tell);
      if (next > before) before = next;
    }
  }
  tellChange(before, stamp, tell);
}

function tellChange(before: Stamp, next: Stamp, tell: (atMs: number, amount: 1 | -1) => void): void {
  if (next <= before) return;
  if (isActive(next)) {
    if (isActive(before)) tell(msOf(before), -1);
    tell(msOf(next), 1);
  } else if (isActive(before)) tell(msOf(next), -1);
}
