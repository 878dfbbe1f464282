import { describe, expect, test } from "bun:test";
import { decode, decodeQuery, Path } from "./path.ts";

describe("Path", () => {
  test.each([
    ["http://h/v1/a", ["v1", "a"], "", true, true],
    ["http://h/v1/a?x=/y", ["v1", "a"], "x=/y", true, true],
    ["http://h/v1/a?x#f?", ["v1", "a"], "x", true, true],
    ["http://h/v1/a#f?x", ["v1", "a"], "", true, true],
    ["https://[::1]:8080/a%2Fb/c", ["a%2Fb", "c"], "", false, true],
    ["http://h/a?x=%20", ["a"], "x=%20", true, true],
    ["http://h//a", ["", "a"], "", true, false],
    ["http://h/a/", ["a", ""], "", true, false],
    ["http://h/", [""], "", true, false],
    ["http://h/?", [""], "", true, false],
    ["/a/b?c", ["a", "b"], "c", false, true],
    ["//a", ["", "a"], "", false, false],
  ])("%s", (url, parts, query, isPlain, hasAllParts) => {
    const path = new Path(url);
    expect(Array.from({ length: path.length }, (_, i) => path.parts(i + 1))).toEqual(parts);
    expect(path.whole).toBe(`/${parts.join("/")}`);
    expect({ query: path.query, isPlain: path.isPlain, hasAllParts: path.hasAllParts }).toEqual({
      query,
      isPlain,
      hasAllParts,
    });
  });

  test("gives several parts at once", () => {
    expect(new Path("http://h/v1/subjects/a/1/views?x").parts(3, 4)).toBe("a/1");
    expect(new Path("http://h/v1/subjects/a/1?x").parts(3, 4)).toBe("a/1");
  });
});

describe("decode", () => {
  test("is strict", () => {
    expect(decode("a%2Fb%C3%A9+", "id")).toBe("a/bé+");
    expect(decodeQuery("a+b%2B", "actor")).toBe("a b+");
    for (const raw of ["%", "%f", "%zz", "%ff", "%C3", "%ED%A0%80", "%C0%80", "é", "a b", "\n"])
      expect(() => decode(raw, "id")).toThrow(/^id: /);
  });
});
