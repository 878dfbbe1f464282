import { describe, expect, test } from "bun:test";
import { hexSql, idSql, ofTypeSql, rowsSql, wholeSql } from "./sql.ts";

describe("a literal", () => {
  test("of a plain id is the id, of any other its bytes, so that nothing can end it", () => {
    expect(idSql("article/a b%_-")).toBe("'article/a b%_-'");
    expect(idSql("")).toBe("''");
    for (const id of ["'", "\\", "a'b", "é", "😀", "a\u0000", "\u007f", "\n"]) {
      expect(idSql(id)).toBe(`X'${Buffer.from(id).toString("hex")}'`);
    }
  });

  test("of a number is a whole one below 2^53, of bytes hexadecimal, or there is none", () => {
    expect(wholeSql(Number.MAX_SAFE_INTEGER)).toBe("9007199254740991");
    expect(wholeSql(-1)).toBe("-1");
    for (const wrong of [1.5, Number.NaN, 2 ** 53, "1" as unknown as number]) expect(() => wholeSql(wrong)).toThrow();
    expect(hexSql("00ff")).toBe("X'00ff'");
    for (const wrong of ["", "0", "0g", "00' OR 1", "AB"]) expect(() => hexSql(wrong)).toThrow();
  });

  test("of a type is the range of its subjects", () => {
    expect(ofTypeSql("user")).toBe("subject >= 'user/' AND subject < 'user0'");
  });

  test("of rows ends with the list", () => {
    const row = (n: number) => `(${n})`;
    expect([rowsSql([1, 2, 3], row), rowsSql([1, 2, 3], row, 1, 2), rowsSql([1, 2, 3], row, 2, 9)]).toEqual([
      "(1),(2),(3)",
      "(2)",
      "(3)",
    ]);
  });
});
