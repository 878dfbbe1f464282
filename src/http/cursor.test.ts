import { expect, test } from "bun:test";
import { cursorOf, stampOf } from "./cursor.ts";

test("a cursor brings its stamp back, to its own list only", () => {
  const list = ["actors", "likes", "article/42"];
  for (const stamp of [0, 1, 2 ** 52 - 1]) {
    const cursor = cursorOf(list, stamp);
    expect(cursor).toMatch(/^[A-Za-z0-9_-]{22}$/);
    expect(stampOf(list, cursor)).toBe(stamp);
    for (const other of [
      ["actors", "likes", "article/43"],
      ["subjects", "likes", "article/42"],
      ["actors", "likes"],
    ])
      expect(() => stampOf(other, cursor)).toThrow("cursor");
  }
});

test("a cursor means the same in every version", () => {
  expect(cursorOf(["actors", "likes", "article/42"], 123_456_789)).toBe("AAAAAAdbzRWQQ52zCzuQAw");
});

test("what is no cursor is refused", () => {
  const list = ["actors", "likes", "article/42"];
  const cursor = cursorOf(list, 7);
  for (const wrong of [
    "",
    "x",
    `${cursor}=`,
    `${cursor.slice(0, -1)}`,
    ` ${cursor.slice(1)}`,
    "_".repeat(22),
    "é".repeat(22),
  ])
    expect(() => stampOf(list, wrong)).toThrow("cursor");
});
