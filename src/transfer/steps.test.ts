import { expect, test } from "bun:test";
import { COUNT_MAX } from "../model.ts";
import { STEPS_MAX, tidySteps, UNKNOWN_HOUR_S } from "./steps.ts";

const HOUR = 3600;

test("what is older than all hours stands in the first one", () => {
  const known = UNKNOWN_HOUR_S + 5 * HOUR;
  expect(tidySteps([])).toEqual([]);
  expect(tidySteps([[known, 3]])).toEqual([[known, 3]]);
  expect(
    tidySteps([
      [0, 7],
      [UNKNOWN_HOUR_S, 2],
      [known, 3],
      [known + HOUR, 0],
      [known + 2 * HOUR, -1],
    ]),
  ).toEqual([
    [UNKNOWN_HOUR_S, 9],
    [known, 3],
    [known + 2 * HOUR, -1],
  ]);
  expect(
    tidySteps([
      [0, 7],
      [UNKNOWN_HOUR_S, -7],
      [known, 3],
    ]),
  ).toEqual([[known, 3]]);
});

test("of too many hours the oldest go together", () => {
  const steps = Array.from({ length: STEPS_MAX + 2 }, (_, i): [number, number] => [UNKNOWN_HOUR_S + (i + 1) * HOUR, 1]);
  const tidy = tidySteps(steps);
  expect(tidy).toHaveLength(STEPS_MAX + 1);
  expect(tidy[0]).toEqual([UNKNOWN_HOUR_S, 2]);
  expect(tidySteps(tidy)).toEqual(tidy);
});

test("no more than the largest count", () => {
  const at = (hour: number) => UNKNOWN_HOUR_S + hour * HOUR;
  const tidy = tidySteps([
    [at(1), COUNT_MAX - 1],
    [at(2), -2],
    [at(3), 5],
    [at(4), 7],
  ]);
  expect(tidy).toEqual([
    [at(1), COUNT_MAX - 1],
    [at(2), -2],
    [at(3), 3],
  ]);
});
