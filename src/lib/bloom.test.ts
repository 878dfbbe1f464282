import { expect, test } from "bun:test";
import { bloomAdd, bloomHas, hashPair, LINE_WORDS, linesFor } from "./bloom.ts";

const hash = new Int32Array(2);

function fill(keys: number, lines = linesFor(keys), first = 0) {
  const words = new Int32Array((first + lines + 1) * LINE_WORDS);
  for (let i = 0; i < keys; i++) {
    hashPair(`actor ${i % 977}`, `article/${i}`, 7, hash);
    bloomAdd(words, first, lines, hash[0] as number, hash[1] as number);
  }
  return (actor: string, subject: string) => {
    hashPair(actor, subject, 7, hash);
    return bloomHas(words, first, lines, hash[0] as number, hash[1] as number);
  };
}

test("what was added is never denied", () => {
  for (const keys of [1, 10, 1000, 100_000]) {
    const has = fill(keys);
    for (let i = 0; i < keys; i++) expect(has(`actor ${i % 977}`, `article/${i}`)).toBe(true);
  }
  const overfull = fill(20_000, 3, 5);
  for (let i = 0; i < 20_000; i++) expect(overfull(`actor ${i % 977}`, `article/${i}`)).toBe(true);
});

test("with the lines it asks for, of the others at most one in a hundred is taken for one of them", () => {
  const has = fill(100_000);
  let wrong = 0;
  for (let i = 0; i < 100_000; i++) if (has(`actor ${i % 977}`, `article/${i + 100_000}`)) wrong++;
  expect(wrong / 100_000).toBeLessThan(0.01);
  console.log(`bloom: ${((100 * wrong) / 100_000).toFixed(2)} % false positives`);
});

test("the filter stays within its lines", () => {
  const words = new Int32Array(10 * LINE_WORDS);
  for (let i = 0; i < 10_000; i++) {
    hashPair("a", String(i), 1, hash);
    bloomAdd(words, 3, 4, hash[0] as number, hash[1] as number);
  }
  expect(words.subarray(0, 3 * LINE_WORDS).every((word) => word === 0)).toBe(true);
  expect(words.subarray(3 * LINE_WORDS, 7 * LINE_WORDS).every((word) => word === -1)).toBe(true);
  expect(words.subarray(7 * LINE_WORDS).every((word) => word === 0)).toBe(true);
});

test("a pair is hashed as a pair, and by its seed", () => {
  const of = (first: string, second: string, seed = 1) => {
    hashPair(first, second, seed, hash);
    return `${hash[0]} ${hash[1]}`;
  };
  expect(
    new Set([of("ab", "c"), of("a", "bc"), of("abc", ""), of("", "abc"), of("c", "ab"), of("ab", "c", 2)]).size,
  ).toBe(6);
});
