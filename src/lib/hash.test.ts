import { expect, test } from "bun:test";
import { murmur3 } from "./hash.ts";

test("is MurmurHash3 x86 32, by values of other implementations", () => {
  const hash = (text: string, seed: number) => {
    const bytes = Buffer.from(text);
    return murmur3(bytes, 0, bytes.length, seed) >>> 0;
  };
  expect(hash("", 0)).toBe(0);
  expect(hash("", 1)).toBe(0x514e28b7);
  expect(hash("a", 0x9747b28c)).toBe(0x7fa09ea6);
  expect(hash("ab", 0x9747b28c)).toBe(0x74875592);
  expect(hash("abc", 0x9747b28c)).toBe(0xc84a62dd);
  expect(hash("abcd", 0x9747b28c)).toBe(0xf0478627);
  expect(hash("Hello, world!", 0x9747b28c)).toBe(0x24884cba);
});
