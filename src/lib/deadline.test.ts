import { expect, test } from "bun:test";
import { inTime } from "./deadline.ts";

const HOUR_MS = 3_600_000;
const late = () => new Error("late");

test("what is done in time is the answer, be it a failure", async () => {
  expect(await inTime(Promise.resolve(1), HOUR_MS, late)).toBe(1);
  await expect(inTime(Promise.reject(new Error("failed")), HOUR_MS, late)).rejects.toThrow("failed");
});

test("what is late is given up, and its failure afterwards troubles nobody", async () => {
  const work = Promise.withResolvers<number>();
  await expect(inTime(work.promise, 1, late)).rejects.toThrow("late");
  work.reject(new Error("failed"));
});
