import { afterEach, expect, spyOn, test } from "bun:test";
import { LAG_MS_MAX, LOOK_MS_MAX } from "../limits.ts";
import { LateActs } from "./late-acts.ts";

const PUT_MS_MAX = LAG_MS_MAX + LOOK_MS_MAX;
let nowMs = 1_000;
const clock = spyOn(performance, "now").mockImplementation(() => nowMs);
afterEach(() => {
  nowMs = 1_000;
});

test("acts are left when they were answered long ago", () => {
  const late = new LateActs();
  expect(late.leftUpTo).toBe(0);
  for (let end = 10; end <= 30; end += 10) {
    late.answered(end);
    nowMs += PUT_MS_MAX / 2;
  }
  expect(late.leftUpTo).toBe(10);
  late.answered(40);
  expect(late.leftUpTo).toBe(20);
  nowMs += 10 * PUT_MS_MAX;
  late.answered(50);
  expect(late.leftUpTo).toBe(40);
});

test("who waits is put once nobody puts himself, in order, and again where that failed", async () => {
  const late = new LateActs();
  const put: number[] = [];
  const each = (fails = false) =>
    late.each(async (_, upTo) => {
      if (fails) throw new Error("away");
      put.push(upTo);
    });
  late.add(new Set([1]), 10);
  late.answered(10);
  nowMs += PUT_MS_MAX / 2;
  late.add(new Set([2]), 20);
  await each();
  expect(put).toEqual([]);
  nowMs += PUT_MS_MAX / 2;
  expect(each(true)).rejects.toThrow("away");
  await each();
  expect(put).toEqual([10]);
  // Not answered before now, however long he has been waiting.
  late.answered(20);
  await each();
  expect(put).toEqual([10]);
  nowMs += PUT_MS_MAX;
  late.answered(20);
  await each();
  expect(put).toEqual([10, 20]);
  clock.mockRestore();
});
