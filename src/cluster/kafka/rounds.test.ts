import { expect, test } from "bun:test";
import { BATCH_BYTES_MAX, bytesOf, MESSAGE_BYTES_MAX, type OutgoingMessage, rounds } from "./rounds.ts";

const message = (partition: number, bytes: number): OutgoingMessage => ({
  partition,
  key: String(partition),
  value: Buffer.alloc(bytes),
});

test("what fits goes in one request", () => {
  const messages = Array.from({ length: 16 }, (_, partition) => message(partition, 1_000));
  expect(rounds(messages)).toEqual([messages]);
  expect(rounds([])).toEqual([]);
});

test("a partition's part of a request stays below Kafka's limit, in order", () => {
  const messages = Array.from({ length: 2_000 }, (_, i) => message(i % 3, (i * 7_919) % 5_000));
  const all = rounds(messages);
  expect(all.length).toBeGreaterThan(1);
  expect(all.flat()).toEqual(messages);
  for (const round of all) {
    for (const partition of [0, 1, 2]) {
      const batch = round.filter((each) => each.partition === partition);
      expect(batch.reduce((sum, each) => sum + bytesOf(each), 0)).toBeLessThanOrEqual(BATCH_BYTES_MAX);
      expect(batch.length).toBeLessThanOrEqual(500);
    }
  }
});

test("the longest message fits, a longer one is a bug", () => {
  expect(rounds([message(0, MESSAGE_BYTES_MAX)])).toHaveLength(1);
  expect(() => rounds([message(0, BATCH_BYTES_MAX)])).toThrow(RangeError);
});
