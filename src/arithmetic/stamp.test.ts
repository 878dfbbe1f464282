import { describe, expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { Problem } from "../errors.ts";
import {
  EPOCH_MS,
  HybridClock,
  hasStamp,
  isActive,
  isTooFarAhead,
  msOf,
  nextStamp,
  STAMP_MAX,
  STAMP_MS_MAX,
  stampAt,
  stampOf,
  TIME_MAX,
  TIMES_PER_MS,
  TOO_FAR_AHEAD_MS,
  tick,
  timeOf,
} from "./stamp.ts";

const NOW_MS = Date.UTC(2026, 10, 20, 12);

describe("a stamp", () => {
  test("begins in 2000 and ends in 2069", () => {
    expect(new Date(EPOCH_MS).toISOString()).toBe("2000-01-01T00:00:00.000Z");
    expect(msOf(STAMP_MAX)).toBe(STAMP_MS_MAX);
    expect(new Date(STAMP_MS_MAX).getUTCFullYear()).toBe(2069);
    expect(STAMP_MAX).toBe(stampOf(TIME_MAX, true));
    expect(Number.isSafeInteger(STAMP_MAX)).toBe(true);
  });

  test("keeps millisecond and bit over its whole range", () => {
    const { next, chance } = random(1);
    for (let i = 0; i < 10_000; i++) {
      const ms = EPOCH_MS + Math.floor(next() * 2 ** 41);
      const active = chance(0.5);
      const stamp = stampAt(ms, active);
      expect([msOf(stamp), isActive(stamp)]).toEqual([ms, active]);
      expect(stampOf(timeOf(stamp), active)).toBe(stamp);
      expect(msOf(stampOf(timeOf(stamp) + TIMES_PER_MS - 1, active))).toBe(ms);
      expect(msOf(stampOf(timeOf(stamp) + TIMES_PER_MS, active))).toBe(ms + 1);
    }
  });

  test("outside of its range is refused, never wrapped", () => {
    expect(hasStamp(EPOCH_MS)).toBe(true);
    for (const ms of [EPOCH_MS - 1, STAMP_MS_MAX + 1, Number.NaN, Number.POSITIVE_INFINITY, -1]) {
      expect(hasStamp(ms)).toBe(false);
      expect(() => stampAt(ms, true)).toThrow(Problem);
      expect(() => tick(0, ms)).toThrow(Problem);
    }
    expect(() => nextStamp(TIME_MAX + 1, 0, true)).toThrow(Problem);
    expect(() => nextStamp(0, STAMP_MAX, false)).toThrow(Problem);
  });
});

describe("the next stamp", () => {
  const time = timeOf(stampAt(NOW_MS, false));

  test("is the clock's where the register seen is older", () => {
    expect(nextStamp(time, 0, true)).toBe(time * 2 + 1);
    expect(nextStamp(time, (time - 1) * 2 + 1, false)).toBe(time * 2);
  });

  test("is above the register seen where the clock is behind it, with its own bit", () => {
    for (const seen of [time * 2, time * 2 + 1]) {
      expect(nextStamp(time, seen, false)).toBe((time + 1) * 2);
      expect(nextStamp(time, seen, true)).toBe((time + 1) * 2 + 1);
    }
  });

  test("carries from a full counter into the milliseconds", () => {
    const seen = stampOf(time + TIMES_PER_MS - 1, true);
    expect(msOf(nextStamp(0, seen, false))).toBe(NOW_MS + 1);
    expect(isActive(nextStamp(0, seen, false))).toBe(false);
  });
});

describe("the clock", () => {
  test("rises strictly though the wall clock stands still or is set back", () => {
    const { below, chance } = random(2);
    const clock = new HybridClock();
    let nowMs = NOW_MS;
    let before = 0;
    for (let i = 0; i < 10_000; i++) {
      nowMs += below(9) - 4;
      const active = chance(0.5);
      const stamp = clock.stamp(nowMs, chance(0.1) ? before + 2 * below(100) : 0, active);
      expect(timeOf(stamp)).toBeGreaterThan(timeOf(before));
      expect(isActive(stamp)).toBe(active);
      before = stamp;
    }
  });

  test("refuses to run more than a minute ahead of the wall, and is not moved by that", () => {
    const clock = new HybridClock();
    const far = stampAt(NOW_MS + TOO_FAR_AHEAD_MS, true);
    expect(isTooFarAhead(far, NOW_MS)).toBe(false);
    expect(isTooFarAhead(stampAt(NOW_MS + TOO_FAR_AHEAD_MS + 1, true), NOW_MS)).toBe(true);
    expect(() => clock.stamp(NOW_MS, far + 2 * TIMES_PER_MS, true)).toThrow(Problem);
    expect(msOf(clock.stamp(NOW_MS, 0, true))).toBe(NOW_MS);
    expect(() => clock.stamp(NOW_MS - TOO_FAR_AHEAD_MS - 1, 0, true)).toThrow(Problem);
    expect(msOf(clock.stamp(NOW_MS, far, false))).toBe(NOW_MS + TOO_FAR_AHEAD_MS);
  });
});
