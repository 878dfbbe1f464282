import { expect, test } from "bun:test";
import { STAMP_MAX, stampAt, stampOf, timeOf } from "../arithmetic/stamp.ts";
import { readMoment, stampOfMoment, textOfStamp } from "./times.ts";

test("a stamp's text gives it back, whatever its counter", () => {
  const first = timeOf(stampAt(Date.UTC(2026, 10, 20, 12), true));
  const texts = new Set<string>();
  for (let counter = 0; counter < 1024; counter++) {
    for (const active of [true, false]) {
      const stamp = stampOf(first + counter, active);
      const text = textOfStamp(stamp);
      texts.add(text);
      const moment = readMoment(text);
      expect(moment && stampOfMoment(moment, active), text).toBe(stamp);
    }
  }
  expect(texts.size).toBe(1024);
  expect([...texts].toSorted()).toEqual([...texts].toSorted((a, b) => (a < b ? -1 : 1)));
  expect(textOfStamp(stampAt(Date.UTC(2026, 10, 20, 12), true))).toBe("2026-11-20T12:00:00.000Z");
  for (const stamp of [1, STAMP_MAX]) expect(stampOfMoment(readMoment(textOfStamp(stamp)) ?? fail(), true)).toBe(stamp);
});

test("times that are none", () => {
  for (const text of ["", "now", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-1-1"])
    for (const lax of [false, true]) expect(readMoment(text, lax), text).toBeNull();
  for (const text of [
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-01-01 00:00:00Z",
    "1556697600",
    "2026-01-01T00:00:00+02:00",
  ])
    expect(readMoment(text), text).toBeNull();
});

test("times of tables", () => {
  const ms = Date.UTC(2019, 4, 1, 8);
  for (const text of [
    "2019-05-01 08:00:00",
    "2019-05-01 08:00",
    "2019-05-01T08:00:00+00:00",
    "1556697600",
    "1556697600000",
  ])
    expect(readMoment(text, true), text).toEqual({ ms, counter: 0 });
  expect(readMoment("2019-05-01", true)).toEqual({ ms: Date.UTC(2019, 4, 1), counter: 0 });
  expect(readMoment("2019-05-01 08:00:00.25", true)).toEqual({ ms: ms + 250, counter: 0 });
  expect(readMoment("2019-05-01 08:00:00.000500", true)).toEqual({ ms, counter: 512 });
});

function fail(): never {
  throw new Error("no time");
}
