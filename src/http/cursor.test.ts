import { expect, test } from "bun:test";
import { cursorOf, placeOf } from "./cursor.ts";

test("a cursor brings its place back, to its own list only", () => {
  const list = ["actors", "likes", "article/42"];
  for (const stamp of [0, 1, 2 ** 52 - 1])
    for (const id of ["", "7", "ü/😀 \u2028", "x".repeat(161)]) {
      const cursor = cursorOf(list, { stamp, id });
      expect(cursor).toMatch(/^[A-Za-z0-9_-]{22,236}$/);
      expect(placeOf(list, cursor)).toEqual({ stamp, id });
      for (const other of [
        ["actors", "likes", "article/43"],
        ["subjects", "likes", "article/42"],
        ["actors", "likes"],
      ])
        expect(() => placeOf(other, cursor)).toThrow("cursor");
    }
});

test("a cursor means the same in every version", () => {
  expect(cursorOf(["actors", "likes", "article/42"], { stamp: 123_456_789, id: "" })).toBe("AAAAAAdbzRWQQ52zCzuQAw");
  expect(cursorOf(["actors", "likes", "article/42"], { stamp: 123_456_789, id: "7" })).toBe("AAAAAAdbzRWzTBZDqUvf4jc");
});

test("what is no cursor is refused", () => {
  const list = ["actors", "likes", "article/42"];
  const cursor = cursorOf(list, { stamp: 7, id: "7" });
  for (const wrong of [
    "",
    "x",
    `${cursor}=`,
    `${cursor.slice(0, -1)}`,
    ` ${cursor.slice(1)}`,
    "_".repeat(22),
    "é".repeat(22),
  ])
    expect(() => placeOf(list, wrong)).toThrow("cursor");
});
