import { expect, test } from "bun:test";
import { LagClock, type PartitionRead } from "./lag-clock.ts";

/** By partition: its end, and what is applied of it. */
function read(...partitions: [partition: number, end: number, applied: number][]): Map<number, PartitionRead> {
  return new Map(partitions.map(([partition, end, applied]) => [partition, { end, applied }]));
}

test("the oldest message that is not applied counts, of whatever partition", () => {
  const clock = new LagClock();
  expect(clock.look(1_000, read([0, 5, 5], [1, 9, 9]))).toBe(0);
  expect(clock.look(2_000, read([0, 6, 5], [1, 9, 9]))).toBe(0);
  expect(clock.look(3_000, read([0, 8, 5], [1, 12, 9]))).toBe(1_000);
  expect(clock.look(4_000, read([0, 8, 6], [1, 12, 9]))).toBe(1_000);
  expect(clock.look(5_000, read([0, 8, 8], [1, 12, 9]))).toBe(2_000);
  expect(clock.look(6_000, read([0, 8, 8], [1, 12, 12]))).toBe(0);
});

test("a partition that goes to another projector with what waits in it does not wait here", () => {
  const clock = new LagClock();
  clock.look(1_000, read([0, 45, 5], [1, 9, 9]));
  expect(clock.look(9_000, read([0, 45, 5], [1, 9, 9]))).toBe(8_000);
  expect(clock.look(10_000, read())).toBe(0);
  expect(clock.look(20_000, read([1, 9, 9]))).toBe(0);
  // It comes back when the other one has applied it.
  expect(clock.look(30_000, read([0, 45, 45], [1, 9, 9]))).toBe(0);
  expect(clock.look(40_000, read([0, 46, 45], [1, 9, 9]))).toBe(0);
});

test("what nobody has applied meanwhile has waited all the time", () => {
  const clock = new LagClock();
  clock.look(1_000, read([0, 45, 5]));
  expect(clock.look(5_000, read())).toBe(0);
  expect(clock.look(9_000, read([0, 45, 5]))).toBe(8_000);
});

test("a log that was made again begins anew", () => {
  const clock = new LagClock();
  clock.look(1_000, read([0, 45, 5]));
  expect(clock.look(9_000, read([0, 3, 0]))).toBe(0);
  expect(clock.look(10_000, read([0, 3, 0]))).toBe(1_000);
  expect(clock.look(11_000, read([0, 3, 3]))).toBe(0);
});

test("an endless lag takes little memory, and its age stays", () => {
  const clock = new LagClock();
  for (let i = 0; i <= 5_000; i++) expect(clock.look(i * 500, read([0, i + 1, 0]))).toBe(i * 500);
});
