import { expect, test } from "bun:test";
import { decide } from "./source.ts";

test("numbers count 1, 2, 3: the next is applied, what was decided is skipped, a gap waits", () => {
  expect(decide(0, 1)).toBe("apply");
  expect(decide(0, 2)).toBe("gap");
  expect(decide(7, 8)).toBe("apply");
  expect(decide(7, 7)).toBe("skip");
  expect(decide(7, 1)).toBe("skip");
  expect(decide(7, 9)).toBe("gap");
});
