import { expect, test } from "bun:test";
import { isBehind, newestFirst, TOP } from "./place.ts";

test("the newest come first, and of one stamp those whose bytes are higher", () => {
  // U+FF5E is above the first half of an emoji in UTF-16, and below it in UTF-8.
  const ids = ["a", "aa", "b", "é", "～", "😀"];
  const places = [...ids.map((id) => ({ stamp: 7, id })), { stamp: 6, id: "z" }, { stamp: 8, id: "a" }];
  const sorted = places.toSorted(newestFirst);
  expect(sorted.map(({ stamp, id }) => `${stamp}${id}`)).toEqual(["8a", "7😀", "7～", "7é", "7b", "7aa", "7a", "6z"]);
  for (const [i, place] of sorted.entries()) {
    expect(isBehind(place, TOP)).toBeTrue();
    for (const [j, item] of sorted.entries()) expect(isBehind(item, place)).toBe(j > i);
  }
});

test("a place without an id is behind all of its stamp", () => {
  expect(isBehind({ stamp: 7, id: "a" }, { stamp: 7, id: "" })).toBeFalse();
  expect(isBehind({ stamp: 6, id: "a" }, { stamp: 7, id: "" })).toBeTrue();
});
