import { expect, test } from "bun:test";
import { random } from "../../../test/support/random.ts";
import type { Metric } from "../../model.ts";
import { Catalog } from "../catalog.ts";
import { EventCheck } from "./event.ts";
import { type EventFormat, formatOf } from "./format.ts";
import { lineText } from "./line-text.ts";

const METRICS: Metric[] = [
  { id: 1, name: "views", kind: "tally" },
  { id: 7, name: "v", kind: "tally" },
  { id: 9, name: "likes", kind: "relation" },
];
const CALLER = { id: "", rank: 3, actor: null };
const check = new EventCheck(new Catalog(() => METRICS, null), CALLER);
const SUBJECTS = [
  "article/42",
  "a/1",
  "long_type_name_0/x",
  "user/a/b",
  "article/.",
  "article/..",
  "article/...",
  "article/",
];
SUBJECTS.push(
  `article/${"x".repeat(128)}`,
  `article/${"x".repeat(129)}`,
  "article/a b",
  "article/%2F",
  "article/é",
  'article/"',
  "Article/1",
);
SUBJECTS.push(
  "article/\\u0041",
  "article/\\",
  "article/\u007f",
  "article",
  "article/+",
  "views/1",
  "article/{}",
  "article/,",
);
const NUMBERS = [
  "1",
  "3",
  "0",
  "03",
  "1000000",
  "1000001",
  "9999999",
  "99999999",
  "100000000",
  "1e3",
  "-1",
  "1.0",
  "",
  "x",
  "12 ",
];

/** What the full reading of a line says, or null. */
function inFull(format: EventFormat, bytes: Uint8Array): string | null {
  try {
    const event = check.event(format.parse(lineText(bytes, 0, bytes.length)));
    return event.kind === "tally" ? `${event.metric.id} ${event.subject} ${event.by}` : null;
  } catch {
    return null;
  }
}

function generator(name: string, seed: number) {
  const { below, pick, chance } = random(seed);
  const ends = ["\n", "\n", "\n", "\r\n", " \n", "\r\r\n", "x\n"];
  return (): Buffer => {
    const metric = pick(["views", "views", "v", "likes", "view", "clicks"]);
    const number = chance(0.5) ? pick(NUMBERS) : null;
    const line =
      name === "text"
        ? `${metric}${pick([" ", " ", " ", "  ", "\t"])}${pick(SUBJECTS)}${number === null ? "" : ` ${number}`}`
        : `{"metric":"${metric}",${chance(0.1) ? " " : ""}"subject":"${pick(SUBJECTS)}"${
            number === null ? "" : `,"${pick(["by", "by", "by", "bx", "by "])}":${number}`
          }}`;
    const bytes = Buffer.from(line + pick(ends));
    // Any byte may be any other, but for the end.
    if (chance(0.3))
      bytes[below(bytes.length - 1)] = pick([0, 9, 13, 32, 34, 37, 44, 47, 48, 58, 92, 123, 125, 127, 128, 255]);
    return bytes;
  };
}

for (const type of ["text/plain", "application/x-ndjson"]) {
  test(`what is read from the bytes of ${type} is what the full reading says`, () => {
    const format = formatOf(type);
    const scanner = format.scanner();
    for (const metric of METRICS.slice(0, 2)) {
      for (const name of ["article", "a", "long_type_name_0", "user", "views"]) scanner.learn(metric, name);
    }
    const line = generator(format.name, 5);
    let taken = 0;
    for (let round = 0; round < 200_000; round++) {
      const bytes = line();
      // In the middle of others, so that reading on behind the line is seen.
      const around = Buffer.concat([Buffer.from("xx"), bytes, Buffer.from("9}\n")]);
      scanner.begin(around);
      const next = scanner.next(2, around.length);
      if (next === 2) continue;
      taken++;
      expect(next).toBe(2 + bytes.length);
      const subject = around.toString("latin1", scanner.from, scanner.to);
      const found = `${scanner.metric} ${subject} ${scanner.by}`;
      if (found !== inFull(format, bytes)) throw new Error(`${JSON.stringify(bytes.toString())}: ${found}`);
    }
    expect(taken).toBeGreaterThan(4_000);
  });

  test(`usual lines of ${type} need no full reading`, () => {
    const format = formatOf(type);
    const scanner = format.scanner();
    const line = (subject: string, by: string) =>
      format.name === "text"
        ? `views ${subject}${by && ` ${by}`}\n`
        : `{"metric":"views","subject":"${subject}"${by && `,"by":${by}`}}\n`;
    const bytes = Buffer.from(
      line("article/42", "") + line("article/550e8400-e29b-41d4", "1000000") + line("article/1", "3"),
    );
    scanner.begin(bytes);
    expect(scanner.next(0, bytes.length)).toBe(0);
    scanner.learn(METRICS[0] as Metric, "article");
    const by: number[] = [];
    for (let at = 0; at < bytes.length; at = scanner.next(at, bytes.length)) by.push(scanner.by);
    expect(by).toEqual([1, 1, 1_000_000]);
    expect(scanner.by).toBe(3);
  });
}
