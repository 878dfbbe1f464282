import { expect, test } from "bun:test";
import { random as seeded } from "../../test/support/random.ts";
import { jsonPlace } from "./json-place.ts";

test.each([
  ["", "line 1, column 1"],
  ["  x", "line 1, column 3"],
  ["{", "line 1, column 2"],
  ['{"a"}', "line 1, column 5"],
  ['{"a":1,}', "line 1, column 8"],
  ["[1,]", "line 1, column 4"],
  ["[1 2]", "line 1, column 4"],
  ["[1}", "line 1, column 3"],
  ['{\n  "a": 01\n}', "line 2, column 9"],
  ['"a\nb"', "line 1, column 1"],
  ['"\\x"', "line 1, column 1"],
  ["1 1", "line 1, column 3"],
])("%j stops being JSON at %s", (text, place) => {
  expect(jsonPlace(text)).toBe(place);
});

test("is of one mind with JSON.parse", () => {
  const random = seeded(7);
  const pieces = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"a"',
    '"\\u00e9"',
    '"\u007f"',
    "1",
    "-0.5e3",
    "01",
    "true",
    "nul",
    " ",
    "\n",
  ];
  let valid = 0;
  for (let i = 0; i < 50_000; i++) {
    const text = Array.from({ length: 1 + random.below(7) }, () => random.pick(pieces)).join("");
    const isJson = parses(text);
    valid += Number(isJson);
    expect(jsonPlace(text) === null, text).toBe(isJson);
  }
  expect(valid).toBeGreaterThan(100);
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
