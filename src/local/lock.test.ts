import { afterEach, beforeEach, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataLock } from "./lock.ts";

let root = "";
let held: DataLock[] = [];
const at = (name: string) => join(root, name);
const take = (name: string) => {
  const lock = DataLock.takeOrRefuse(at(name));
  held.push(lock);
  return lock;
};
const copy = (from: string, to: string) => cpSync(at(from), at(to), { recursive: true });

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tally lock "));
  mkdirSync(at("one"));
});
afterEach(() => {
  for (const lock of held.splice(0)) lock.release();
  rmSync(root, { recursive: true });
});

test("one at a time, who says who he is", () => {
  const lock = take("one");
  expect(lock.isCopy()).toBe(false);
  expect(() => take("one")).toThrow(`process ${process.pid} since `);
  lock.release();
  held = [];
  take("one");
});

test("a copy of a folder in use is one until it is settled, however often it is taken", () => {
  take("one").settle();
  copy("one", "two");
  for (let start = 0; start < 2; start++) {
    const two = take("two");
    expect(two.isCopy()).toBe(true);
    two.release();
    held.pop();
  }
  const two = take("two");
  two.settle();
  expect(two.isCopy()).toBe(false);
  copy("two", "three");
  expect(take("three").isCopy()).toBe(true);
});

test("a folder that was moved is none, nor one whose original stands there unused; where that cannot be seen it is", () => {
  const one = take("one");
  one.settle();
  one.release();
  held = [];
  copy("one", "two");
  expect(take("two").isCopy()).toBe(false);
  copy("one", "three");
  renameSync(at("one"), at("moved"));
  expect(take("moved").isCopy()).toBe(false);
  expect(take("three").isCopy()).toBe(true);
});
