import { expect, test } from "bun:test";
import { type HourRow, type SketchRow, tallyRows } from "./tally-rows.ts";

const hour = (subject: string, metric: string, at: number): HourRow => ({ subject, metric, at, amount: 1 });
const visitors = Uint8Array.of(1);
const sketch = (subject: string, metric: string): SketchRow => ({ subject, metric, visitors });

test("hours and sketches of one tally make one row, by subject and name", async () => {
  const hours = [
    hour("a/1", "views", 0),
    hour("a/1", "views", 3600),
    hour("a/1", "plays", 0),
    hour("a/\uff5e", "views", 0),
  ];
  const sketches = [sketch("a/0", "views"), sketch("a/1", "plays"), sketch("a/1", "clicks"), sketch("a/😀", "views")];
  const rows = await Array.fromAsync(tallyRows(hours, sketches));
  expect(rows).toEqual([
    { metric: "views", subject: "a/0", steps: [], visitors },
    { metric: "clicks", subject: "a/1", steps: [], visitors },
    { metric: "plays", subject: "a/1", steps: [[0, 1]], visitors },
    {
      metric: "views",
      subject: "a/1",
      steps: [
        [0, 1],
        [3600, 1],
      ],
    },
    { metric: "views", subject: "a/\uff5e", steps: [[0, 1]] },
    { metric: "views", subject: "a/😀", steps: [], visitors },
  ]);
  expect(await Array.fromAsync(tallyRows([], []))).toEqual([]);
});
