import { expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { ChangeWriter, readChanges } from "./changes.ts";

function read(frames: Buffer[]): [metric: number, at: number, subject: string, amount: number][] {
  const found: [number, number, string, number][] = [];
  for (const frame of frames) {
    readChanges(frame, ({ metric, at }, bytes, start, end, amount) => {
      found.push([metric, at, bytes.utf8Slice(start, end), amount]);
    });
  }
  return found;
}

test("changes are read as they were written, by metric and step, cut into frames of any size", () => {
  const { below, pick } = random(3);
  const subjects = ["a/1", "a/é", "a/😀", `b/${"x".repeat(128)}`, "a/__proto__"];
  const amounts = [1, -1, 127, -127, 128, -128, 1_000_000, -5e15, 2 ** 53 - 1, 0.5];
  const changes = Array.from({ length: 2_000 }, () => {
    return { metric: 1 + below(3), at: 60 * below(4), subject: pick(subjects), amount: pick(amounts) };
  });
  for (const bytesMax of [Number.POSITIVE_INFINITY, 10_000, 300, 1]) {
    const writer = new ChangeWriter();
    for (const { metric, at, subject, amount } of changes) writer.add(metric, at, subject, amount);
    const frames = writer.finish(bytesMax);
    const found = read(frames);
    const expected = [...Map.groupBy(changes, ({ metric, at }) => `${metric} ${at}`).values()].flat();
    expect(found).toEqual(expected.map(({ metric, at, subject, amount }) => [metric, at, subject, amount]));
    if (bytesMax > 300) for (const frame of frames) expect(frame.length).toBeLessThan(bytesMax + 300);
  }
  expect(new ChangeWriter().finish()).toEqual([]);
});

test("marks keep their place among the changes", () => {
  const writer = new ChangeWriter();
  writer.add(1, 60, "a/1", 1);
  writer.becomes("a/1", "");
  writer.becomes("a/2", "a/3");
  writer.add(1, 60, "a/1", 2);
  writer.add(1, 60, "a/3", 3);
  const marks = ["a/1", "", "a/2", "a/3"].map((subject) => [0, 0, subject, 0]);
  expect(read(writer.finish())).toEqual([[1, 60, "a/1", 1], ...marks, [1, 60, "a/1", 2], [1, 60, "a/3", 3]] as never);
});
