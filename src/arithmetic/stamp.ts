import { unavailable } from "../errors.ts";

/**
 * A stamp is when a relation last changed and to what: 41 bits of milliseconds since 2000, 10 bits of counter and, last,
 * the active bit. 52 bits: exact in a double, and of two stamps the larger number is the later act.
 *
 * A *time* is a stamp without its bit, 51 bits. The clock counts in times, so two acts never share one and lists by stamp
 * are strictly ordered. Stamp 0 is the register of one who never acted: inactive, and below every other.
 *
 * Only + − × ÷ here: the shift and mask operators cut numbers to 32 bits. `stamp + 1` would turn an inactive register into
 * an active one of the same time, so the next time is always reached by `timeOf(stamp) + 1`, where a full counter carries
 * into the milliseconds.
 */
export type Stamp = number;
/** Milliseconds since 2000 × 1024 + counter: a stamp without its bit. */
export type Time = number;

/** 2000-01-01T00:00:00Z in milliseconds since 1970. */
export const EPOCH_MS = 946_684_800_000;
/** Times in one millisecond: 10 bits, a million acts a second before the clock runs ahead of the wall. */
export const TIMES_PER_MS = 1024;
/** The last time there is, in September 2069. */
export const TIME_MAX: Time = 2 ** 51 - 1;
export const STAMP_MAX: Stamp = 2 ** 52 - 1;
/** The first stamp's millisecond and the last's, since 1970. */
export const STAMP_MS_MIN = EPOCH_MS;
export const STAMP_MS_MAX = EPOCH_MS + 2 ** 41 - 1;
/**
 * No act is stamped further ahead of the wall clock. Registers follow the highest stamp, so one node whose clock is years
 * ahead would win every race until then; a minute is far above what synchronised clocks differ by.
 */
export const TOO_FAR_AHEAD_MS = 60_000;

export function timeOf(stamp: Stamp): Time {
  return Math.floor(stamp / 2);
}

export function isActive(stamp: Stamp): boolean {
  return stamp % 2 === 1;
}

/** The stamp's millisecond since 1970, what answers call `at`. */
export function msOf(stamp: Stamp): number {
  return EPOCH_MS + Math.floor(stamp / (2 * TIMES_PER_MS));
}

/** Whether events may carry this moment (milliseconds since 1970): from 2000 on and before the stamps end. */
export function hasStamp(ms: number): boolean {
  return ms >= STAMP_MS_MIN && ms <= STAMP_MS_MAX;
}

/** The first stamp of a millisecond since 1970 with this bit. */
export function stampAt(ms: number, active: boolean): Stamp {
  if (!hasStamp(ms)) throw unavailable(`the clock says ${ms} ms since 1970, which stamps (2000 to 2069) cannot hold`);
  return (Math.floor(ms) - EPOCH_MS) * (2 * TIMES_PER_MS) + (active ? 1 : 0);
}

/** The stamp with this time and this bit. */
export function stampOf(time: Time, active: boolean): Stamp {
  return time * 2 + (active ? 1 : 0);
}

/** The smallest stamp at or after the clock's time and above the register seen, with its own bit. */
export function nextStamp(clockTime: Time, seen: Stamp, active: boolean): Stamp {
  const after = timeOf(seen) + 1;
  const time = clockTime > after ? clockTime : after;
  if (time > TIME_MAX) throw unavailable("stamps have reached their end");
  return time * 2 + (active ? 1 : 0);
}

/**
 * The hybrid logical clock: its next time is the wall's where that has moved on, else one more than the last, so times
 * rise strictly although the wall clock stands still or is set back. `last` is the time of the newest stamp the node has
 * given (`timeOf(nextStamp(…))`: a register from a clock ahead takes this one along) or has read from the log at its start.
 */
export function tick(last: Time, nowMs: number): Time {
  if (!hasStamp(nowMs))
    throw unavailable(`the clock says ${nowMs} ms since 1970, which stamps (2000 to 2069) cannot hold`);
  const wall = (Math.floor(nowMs) - EPOCH_MS) * TIMES_PER_MS;
  const time = wall > last ? wall : last + 1;
  if (time - wall > TOO_FAR_AHEAD_MS * TIMES_PER_MS) throw unavailable(tooFarAhead(time - wall));
  return time;
}

/** Whether a stamp from elsewhere may be taken in: not more than a minute ahead of the wall clock. */
export function isTooFarAhead(stamp: Stamp, nowMs: number): boolean {
  return msOf(stamp) - nowMs > TOO_FAR_AHEAD_MS;
}

/** `tick` and `nextStamp` in one, for a single owner of the clock; refuses without moving it. */
export class HybridClock {
  #last: Time;

  /** `last`: the highest time in the log and the ledger, 0 where there is none. */
  constructor(last: Time = 0) {
    this.#last = last;
  }

  /** A stamp above every one given before and above the register seen. */
  stamp(nowMs: number, seen: Stamp, active: boolean): Stamp {
    const stamp = nextStamp(tick(this.#last, nowMs), seen, active);
    if (isTooFarAhead(stamp, nowMs)) throw unavailable(tooFarAhead((msOf(stamp) - nowMs) * TIMES_PER_MS));
    this.#last = timeOf(stamp);
    return stamp;
  }
}

function tooFarAhead(times: Time): string {
  const seconds = Math.ceil(times / TIMES_PER_MS / 1000);
  return `the clock of this machine is ${seconds} s behind the newest act; at most ${TOO_FAR_AHEAD_MS / 1000} s are allowed`;
}
