import { expect, test } from "bun:test";
import { PastChanges } from "./past-changes.ts";

function heard(reader: PastChanges) {
  const news: [number, number][] = [];
  const sequence = reader.look((key, delta) => news.push([key, delta]));
  return { news, sequence };
}

test("each reader hears each change once, from when it began", () => {
  const memory = PastChanges.allocate();
  const writer = new PastChanges(memory);
  writer.tell(1, "a/1", 5, () => undefined);
  const reader = new PastChanges(memory);
  expect(heard(reader).news).toEqual([]);
  writer.tell(1, "a/1", 2, () => undefined);
  writer.tell(2, "a/1", -1, () => undefined);
  const other = new PastChanges(memory);
  const { news, sequence } = heard(reader);
  expect(news).toEqual([
    [PastChanges.keyOf(1, "a/1"), 2],
    [PastChanges.keyOf(2, "a/1"), -1],
  ]);
  expect(PastChanges.keyOf(1, "a/1")).not.toBe(PastChanges.keyOf(2, "a/1"));
  expect(reader.isStill(sequence)).toBe(true);
  expect(heard(reader).news).toEqual([]);
  expect(heard(other).news).toEqual([]);
});

test("a read that a change comes into is not still, whether before or behind the count itself", () => {
  const memory = PastChanges.allocate();
  const [writer, reader] = [new PastChanges(memory), new PastChanges(memory)];
  const before = heard(reader).sequence;
  writer.tell(1, "a/1", 1, () => {
    const amid = heard(reader);
    expect(amid.news.length).toBe(1);
    expect(reader.isStill(amid.sequence)).toBe(false);
    expect(reader.isStill(before)).toBe(false);
  });
  expect(reader.isStill(before)).toBe(false);
});

test("who comes too late for all of them hears none of them", () => {
  const memory = PastChanges.allocate();
  const [writer, reader] = [new PastChanges(memory), new PastChanges(memory)];
  for (let i = 0; i < 65_537; i++) writer.tell(1, `a/${i % 7}`, 1, () => undefined);
  expect(heard(reader).news).toEqual([]);
  writer.tell(1, "a/1", 3, () => undefined);
  expect(heard(reader).news).toEqual([[PastChanges.keyOf(1, "a/1"), 3]]);
});
