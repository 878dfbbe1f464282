import { expect, test } from "bun:test";
import type { LogRecord } from "../records.ts";
import { SHARD_RECORDS_MAX, transactions } from "./transactions.ts";

/** A message by its number, with so many records of each shard. */
function message(id: number, shards: Record<number, number>, kind: "relation" | "erase" = "relation") {
  const records = Object.entries(shards).flatMap(([shard, n]) =>
    Array.from({ length: n }, () => ({ kind, shard: Number(shard) }) as LogRecord),
  );
  return { id, frame: { source: "s", records } };
}

const idsOf = (parts: { id: number }[][]) => parts.map((part) => part.map(({ id }) => id));

test("one shard gets no more than Redis can be told of at once, and what one message has stays together", () => {
  const half = SHARD_RECORDS_MAX / 2;
  const messages = [
    message(0, { 1: half }),
    message(1, { 2: half }),
    message(2, { 1: half, 2: half }),
    message(3, { 2: 1 }),
    message(4, { 1: half }),
    message(5, { 3: 3 * half }),
    message(6, { 1: 1 }),
  ];
  expect(idsOf(transactions(messages))).toEqual([
    [0, 1, 2],
    [3, 4],
    [5, 6],
  ]);
});

test("a job ends its transaction, and nothing is one without messages", () => {
  const messages = [
    message(0, { 1: 1 }),
    message(1, { 1: 1 }, "erase"),
    message(2, { 1: 1 }),
    message(3, { 1: 1 }, "erase"),
  ];
  expect(idsOf(transactions(messages))).toEqual([
    [0, 1],
    [2, 3],
  ]);
  expect(transactions([])).toEqual([[]]);
});
