import { expect, test } from "bun:test";
import type { TallyChange } from "../ports/ledger.ts";
import { milestoneId, reached, reachedByTally, rulesOf } from "./milestones.ts";

const AT = [10, 100, 1_000];

test("what is live reaches a threshold from below, once, and all it passes", () => {
  expect(reached(AT, 0, { live: 9, past: 0 })).toEqual([]);
  expect(reached(AT, 9, { live: 1, past: 0 })).toEqual([10]);
  expect(reached(AT, 10, { live: 5, past: 0 })).toEqual([]);
  expect(reached(AT, 0, { live: 5_000, past: 0 })).toEqual(AT);
  expect(reached(AT, 12, { live: -5, past: 0 })).toEqual([]);
});

test("what is of another time reaches nothing, whatever comes with it", () => {
  expect(reached(AT, 0, { live: 0, past: 5_000 })).toEqual([]);
  expect(reached(AT, 9, { live: 0, past: 1 })).toEqual([]);
  expect(reached(AT, 95, { live: 4, past: 10 })).toEqual([]);
  // Either may have been first: one of them reached it.
  expect(reached(AT, 95, { live: 5, past: 10 })).toEqual([100]);
  expect(reached(AT, 95, { live: 1, past: 4 })).toEqual([100]);
});

test("sets are where a tally goes on from, and reach nothing themselves", () => {
  const change: TallyChange = { shard: 0, metric: 1, subject: "a/1", added: 0, sets: null, steps: [] };
  expect(reachedByTally(AT, 9, { ...change, added: 1 })).toEqual([10]);
  expect(reachedByTally(AT, 0, { ...change, sets: [{ added: 0, count: 500, step: 0 }] })).toEqual([]);
  expect(reachedByTally(AT, 0, { ...change, added: 1, sets: [{ added: 10, count: 99, step: 0 }] })).toEqual([10, 100]);
  expect(reachedByTally(AT, 9, { ...change, added: 5, past: 5 })).toEqual([]);
});

test("entries of one metric and URL are one rule", () => {
  const likes = { id: 2, name: "likes", kind: "relation" } as const;
  const hooks = [
    { metric: "likes", at: [100, 10], url: "https://a" },
    { metric: "likes", at: [10, 50], url: "https://a" },
    { metric: "likes", at: [5], url: "https://b" },
  ];
  expect(rulesOf(hooks, [likes])).toEqual([
    { metric: 2, url: "https://a", at: [10, 50, 100] },
    { metric: 2, url: "https://b", at: [5] },
  ]);
});

test("an id is a milestone's own", () => {
  const one = { metric: "likes", subject: "a/1", threshold: 10, url: "https://a" };
  const ids = [
    one,
    { ...one, metric: "views" },
    { ...one, subject: "a/2" },
    { ...one, threshold: 100 },
    { ...one, url: "b" },
  ];
  expect(new Set(ids.map(milestoneId)).size).toBe(5);
  expect(milestoneId({ ...one })).toBe(milestoneId(one));
});
