import { expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { countDelta, merge } from "./register.ts";

test("the later act stays and the count changes only when the bit does", () => {
  const [liked, unliked, likedAgain] = [2 ** 51 + 1, 2 ** 51 + 2, 2 ** 51 + 5];
  expect([merge(0, liked), countDelta(0, liked)]).toEqual([liked, 1]);
  expect([merge(liked, unliked), countDelta(liked, unliked)]).toEqual([unliked, -1]);
  expect([merge(unliked, liked), countDelta(unliked, liked)]).toEqual([unliked, 0]);
  expect([merge(liked, likedAgain), countDelta(liked, likedAgain)]).toEqual([likedAgain, 0]);
  expect([merge(liked, liked), countDelta(liked, liked)]).toEqual([liked, 0]);
  expect([merge(0, unliked), countDelta(0, unliked)]).toEqual([unliked, 0]);
});

test("any order and any repetition end in the same register and the same count", () => {
  const { below } = random(3);
  for (let round = 0; round < 2_000; round++) {
    const stamps = Array.from({ length: 5 }, () => 2 ** 51 + below(12));
    let [register, count] = [0, 0];
    for (let i = 0; i < 20; i++) {
      const stamp = i < 5 ? (stamps[i] ?? 0) : (stamps[below(5)] ?? 0);
      count += countDelta(register, stamp);
      register = merge(register, stamp);
      expect(count).toBe(register % 2);
    }
    expect(register).toBe(Math.max(...stamps));
  }
});
