import { expect, test } from "bun:test";
import { stampAt } from "../arithmetic/stamp.ts";
import { NdjsonReader } from "./ndjson.ts";
import { Problems } from "./problem.ts";

const VIEWS = { id: 1, name: "views", kind: "tally" } as const;
const LIKES = { id: 2, name: "likes", kind: "relation" } as const;
const READING = { metrics: [VIEWS, LIKES], types: null, at: null, nowMs: Date.UTC(2026, 10, 20) };

function read(text: string | Buffer, chunkBytes: number, reading: typeof READING = READING) {
  const bytes = Buffer.from(text);
  const chunks = Array.from({ length: Math.ceil(bytes.length / chunkBytes) }, (_, i) =>
    bytes.subarray(i * chunkBytes, (i + 1) * chunkBytes),
  );
  const problems = new Problems();
  const events = [...new NdjsonReader(reading, problems).events(chunks)].flat();
  problems.check();
  return events;
}

test("lines come out the same wherever the input is cut", () => {
  const lines = [
    '{"metric":"views","subject":"article/😀\\u2028 \\"","by":3,"at":"2020-01-01T00:59:59Z"}',
    "",
    '  {"metric":"likes","subject":"a/1","actor":"é"}\r',
    '{"metric":"views","subject":"a/1","count":7}',
    '{"metric":"likes","subject":"a/\u2028","actor":"7","active":false,"at":"2020-01-01T00:00:00.5Z"}',
  ];
  const expected = [
    { line: 1, metric: VIEWS, subject: 'article/😀\u2028 "', steps: [[1577836800, 3]], actor: "", stamp: 0 },
    { line: 3, metric: LIKES, subject: "a/1", steps: [], actor: "é", stamp: 1 },
    { line: 4, metric: VIEWS, subject: "a/1", steps: [[946684800, 7]], actor: "", stamp: 0 },
    { line: 5, metric: LIKES, subject: "a/\u2028", steps: [], actor: "7", stamp: stampAt(1577836800500, false) },
  ];
  for (const end of ["", "\n", "\n\n"])
    for (const bytes of [1, 2, 3, 7, 64, 4096]) expect(read(lines.join("\n") + end, bytes) as object).toEqual(expected);
  expect(read(`\ufeff${lines[3]}`, 4096)).toHaveLength(1);
});

test("so many bad lines are named, then reading stops", () => {
  const lines = Array.from({ length: 50 }, (_, i) => `{"metric":"views","subject":"a/${i}","by":${i % 2 ? 1 : -1}}`);
  try {
    read(lines.join("\n"), 4096);
    throw new Error("it was taken");
  } catch (error) {
    const said = (error as Error).message.split("\n");
    expect(said[0]).toBe("nothing was imported:");
    expect(said[1]).toBe("  line 1: /by: must be an integer from 1 to 2^53-1");
    expect(said[20]).toStartWith("  line 39: ");
    expect(said).toHaveLength(22);
  }
});

test("a time of the command line stands for those that are missing; types that are not configured are refused", () => {
  const at = { ms: Date.UTC(2019, 4, 1, 8, 30), counter: 0 };
  const [event] = read('{"metric":"views","subject":"a/1"}', 64, { ...READING, at } as never);
  expect(event?.steps).toEqual([[Date.UTC(2019, 4, 1, 8) / 1000, 1]]);
  expect(() => read('{"metric":"views","subject":"b/1"}', 64, { ...READING, types: ["a"] } as never)).toThrow(
    "line 1: /subject: its type is not configured here; there are: a",
  );
  const ahead = '{"metric":"likes","subject":"a/1","actor":"7","at":"2026-11-20T00:02:00Z"}';
  expect(() => read(ahead, 64)).toThrow("/at: must not be ahead of the clock");
});
