import { expect, test } from "bun:test";
import { Standstill } from "./standstill.ts";

const S = 1_000;
const LOOK_MS = 500;

/** Looks every half second; when, in seconds, it was too long. */
function alarms(forS: number, at: (seconds: number) => { applied: number; hasMore: boolean }): number[] {
  let now = 0;
  const standstill = new Standstill(() => now);
  const found: number[] = [];
  for (; now <= forS * S; now += LOOK_MS) {
    const { applied, hasMore } = at(now / S);
    standstill.look(applied, hasMore);
    if (standstill.isTooLong()) found.push(now / S);
  }
  return found;
}

test("a ledger that does not take what there is for it has stood still for too long: ever more seldom", () => {
  expect(alarms(1_300, () => ({ applied: 7, hasMore: true }))).toEqual([30, 90, 210, 450, 930]);
});

test("nothing to take is no standstill, however long: what comes then has its time", () => {
  expect(alarms(600, (seconds) => ({ applied: 7, hasMore: seconds % 36 > 34 }))).toEqual([]);
  expect(alarms(100, (seconds) => ({ applied: 7, hasMore: seconds >= 36 }))).toEqual([65.5]);
});

test("a ledger that comes on, if slowly, does not stand still", () => {
  expect(alarms(600, (seconds) => ({ applied: Math.floor(seconds / 29), hasMore: true }))).toEqual([]);
});
