import { expect, test } from "bun:test";
import { Mapping } from "./mapping.ts";

const read = (map: string, names: string[] | null, row: string[]) => {
  const reader = new Mapping(map).bind(names, row.length);
  return (field: Parameters<typeof reader>[1]) => reader(row, field);
};

test("text and columns by name or number make a field", () => {
  const names = ["id", "my views", "2", "type"];
  const of = read("metric=views  subject={type}/{id} count={my views} at={2} actor={3}", names, [
    "7",
    "12",
    "x",
    "post",
  ]);
  expect(of("metric")).toBe("views");
  expect(of("subject")).toBe("post/7");
  expect(of("count")).toBe("12");
  expect(of("at")).toBe("x"); // a name goes before a number
  expect(of("actor")).toBe("x");
  expect(of("active")).toBeUndefined();
  expect(read("metric={1} subject=a/{2}{2}", null, ["likes", "é"])("subject")).toBe("a/éé");
  expect(read("subject=a/{2} metric=m", null, ["1", "2"])("metric")).toBe("m");
});

test("the same meaning has the same name, whatever its order", () => {
  expect(new Mapping(" subject=a/{1}  metric=m ").name).toBe(new Mapping("metric=m subject=a/{1}").name);
  expect(new Mapping("metric=m subject=a/{2}").name).not.toBe(new Mapping("metric=m subject=a/{1}").name);
});

test("what cannot be meant is said", () => {
  const wrong: [map: string, says: string][] = [
    ["", "lacks metric"],
    ["metric=views", "lacks subject"],
    ["metric=views subject", 'cannot be read at "subject"'],
    ["metric=views subject=a/{id", "cannot be read"],
    ["metric=views subject=a/id}", "cannot be read"],
    ["metric=views metric=likes subject=a/1", "metric twice"],
    ["metric=views subject=a/1 counts={n}", "no counts; there are: metric, subject"],
  ];
  for (const [map, says] of wrong) expect(() => new Mapping(map), map).toThrow(says);
  expect(() => read("metric=m subject=a/{nr}", ["id", "n"], ["1", "2"])).toThrow('column "nr"; there are: "id", "n"');
  expect(() => read("metric=m subject=a/{3}", null, ["1", "2"])).toThrow("there are: 1 to 2");
  expect(() => read("metric=m subject=a/{0}", null, ["1", "2"])).toThrow('column "0"');
});
