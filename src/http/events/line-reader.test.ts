import { expect, test } from "bun:test";
import { random } from "../../../test/support/random.ts";
import { EVENT_LINE_BYTES_MAX, EVENT_SLICE_BYTES } from "../../limits.ts";
import { LineReader } from "./line-reader.ts";

/** The lines of a body as they should come: null for one that is too long. */
function linesOf(body: Buffer): (string | null)[] {
  const lines = body.toString("latin1").split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line) => (line.length > EVENT_LINE_BYTES_MAX ? null : line));
}

async function read(body: Buffer, cut: () => number): Promise<(string | null)[]> {
  const seen: (string | null)[] = [];
  const reader = new LineReader({
    lines(bytes, from, to) {
      expect(bytes[to - 1]).toBe(0x0a);
      if (to - from > EVENT_SLICE_BYTES) throw new Error("a slice is too long");
      seen.push(
        ...Buffer.from(bytes.subarray(from, to - 1))
          .toString("latin1")
          .split("\n"),
      );
    },
    tooLong: () => void seen.push(null),
  });
  for (let at = 0; at < body.length; ) {
    const bytes = cut();
    await reader.take(body.subarray(at, at + bytes));
    at += bytes;
  }
  await reader.end();
  return seen;
}

test("whatever the pieces, the lines are the same", async () => {
  const { below, pick } = random(11);
  const max = EVENT_LINE_BYTES_MAX;
  for (let round = 0; round < 300; round++) {
    const lengths = [
      0,
      0,
      1,
      20,
      20,
      20,
      100,
      max - 1,
      max,
      max + 1,
      max + 2,
      2 * max,
      3 * max + 5,
      EVENT_SLICE_BYTES,
      200_000,
    ];
    const lines = Array.from({ length: below(40) }, () => String.fromCharCode(97 + below(26)).repeat(pick(lengths)));
    const body = Buffer.from(lines.join("\n") + pick(["", "\n", "\n\n"]));
    const sizes = pick([[1 << 20], [1, 2, 3, 1000], [max - 1, max, max + 1], [65_536], [131_072], [7, 50_000]]);
    expect(await read(body, () => pick(sizes))).toEqual(linesOf(body));
  }
});

test("a last line without its end counts as one, an empty one does not", async () => {
  for (const [body, lines] of [
    ["", []],
    ["a", ["a"]],
    ["a\n", ["a"]],
    ["\n", [""]],
    ["a\n\nb", ["a", "", "b"]],
  ] as const) {
    expect(await read(Buffer.from(body), () => 1)).toEqual([...lines]);
  }
});
