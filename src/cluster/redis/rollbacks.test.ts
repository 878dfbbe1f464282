import { expect, test } from "bun:test";
import { Rollbacks } from "./rollbacks.ts";

const head = (epoch: string, version: number, incarnation = "i") => ({
  epoch,
  version,
  incarnation,
  position: 0,
  end: 0,
});

test("a version that goes back within its epoch is a rollback, and so is an epoch that returns", () => {
  const rollbacks = new Rollbacks();
  const isBack = (epoch: string, version: number, incarnation?: string) =>
    rollbacks.isBack(1, head(epoch, version, incarnation), rollbacks.seen(1));
  expect([isBack("a", 5), isBack("a", 5), isBack("a", 6), isBack("a", 5)]).toEqual([false, false, false, true]);
  expect(rollbacks.epochToEnd(1)).toBe("a");
  expect(rollbacks.epochToEnd(2)).toBe("");
  expect([isBack("b", 5), isBack("b", 7), isBack("a", 9)]).toEqual([false, false, true]);
  expect([isBack("b", 7), isBack("b", 1, "restored"), isBack("b", 2, "restored")]).toEqual([false, false, false]);
});

test("an answer that was overtaken is none", () => {
  const rollbacks = new Rollbacks();
  rollbacks.isBack(1, head("a", 5), rollbacks.seen(1));
  const before = rollbacks.seen(1);
  expect(rollbacks.isBack(1, head("b", 6), rollbacks.seen(1))).toBe(false);
  expect(rollbacks.isBack(1, head("a", 5), before)).toBe(false);
  expect(rollbacks.isBack(1, head("b", 6), rollbacks.seen(1))).toBe(false);
});
