import { expect, test } from "bun:test";
import { COUNT_MAX } from "../../model.ts";
import { changed } from "./tallies.ts";

const tally = { shard: 1, metric: 1, subject: "article/1" };

test("amounts go to their steps", () => {
  expect(
    changed(
      {
        ...tally,
        added: 5,
        sets: null,
        steps: [
          [10, 2],
          [20, 3],
        ],
      },
      7,
    ),
  ).toEqual({
    count: 12,
    steps: [
      [10, 2],
      [20, 3],
    ],
  });
});

test("sets make the difference in theirs, each to what was there at its place", () => {
  const sets = [
    { added: 4, count: 100, step: 20 },
    { added: 1, count: 50, step: 30 },
  ];
  const { count, steps } = changed({ ...tally, added: 2, sets, steps: [[10, 7]] }, 6);
  expect(count).toBe(52);
  expect(steps).toEqual([
    [10, 7],
    [20, 90],
    [30, -51],
  ]);
});

test("whatever happens, the history adds up to the count, also at its end", () => {
  const near = COUNT_MAX - 3;
  for (const sets of [null, [{ added: 5, count: COUNT_MAX, step: 20 }], [{ added: 9, count: 1, step: 20 }]]) {
    const steps: [number, number][] = [
      [10, 4],
      [20, sets ? 5 + (sets[0]?.added ?? 0) - 4 : 1],
    ];
    const after = changed({ ...tally, added: 5, sets, steps }, near);
    expect(after.count).toBeLessThanOrEqual(COUNT_MAX);
    expect(after.steps.reduce((sum, [, amount]) => sum + amount, near)).toBe(after.count);
  }
});
