import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartError } from "../errors.ts";
import { LOG_FILE_BYTES } from "../limits.ts";
import { type Files, filesOf } from "../local/files.ts";
import { FileLogReader, LogHead, LogWriter, trimLog } from "../local/log.ts";
import { openLog } from "./open-log.ts";

let folder: string;
let files: Files;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-open-log-"));
  files = filesOf(folder);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Frames of 1 MiB in the log: where each begins, and where the last one ends. */
function append(count: number): number[] {
  const head = new LogHead();
  const log = new LogWriter(files.log, head);
  const positions = [head.position];
  for (let i = 0; i < count; i++) positions.push(log.append(Buffer.alloc(2 ** 20, 1)));
  log.close();
  return positions;
}

function open(position: number): number {
  const head = new LogHead();
  openLog(files, head, position);
  return head.position;
}

describe("a log that was not there", () => {
  test.each([0, 134, 3 * LOG_FILE_BYTES, 2 ** 40 + 7])(
    "begins at the ledger's position, %d, and goes on",
    (position) => {
      expect(open(position)).toBe(position);
      expect(open(position)).toBe(position);
      const end = append(40).at(-1) as number;
      const head = new LogHead();
      head.position = end;
      const reader = new FileLogReader(files.log, head);
      expect(reader.start()).toBe(position);
      expect(reader.read(position, 2 ** 30)).toHaveLength(40);
      reader.close();
      trimLog(files.log, end);
      expect(open(end)).toBe(end);
    },
  );

  test("does not take what stands in a file that was left for its own", () => {
    open(134);
    append(3);
    const name = readdirSync(files.log).find((name) => name.endsWith(".log")) as string;
    renameSync(join(files.log, name), join(files.log, "spare"));
    expect(open(134)).toBe(134);
  });
});

describe("a log that is there", () => {
  test("is opened at its end, wherever in it the ledger is", () => {
    const positions = append(5);
    for (const position of positions) expect(open(position)).toBe(positions.at(-1) as number);
  });

  test("is refused where it ends before the ledger", () => {
    const end = append(2).at(-1) as number;
    expect(() => open(end + 1)).toThrow(StartError);
    expect(() => open(end + 1)).toThrow(`the log ${files.log} ends at ${end}, but`);
  });

  test("is refused where it begins behind the ledger", () => {
    append(40);
    trimLog(files.log, 33 * 2 ** 20);
    const start = 2 * LOG_FILE_BYTES;
    expect(() => open(start - 1)).toThrow(`begins at ${start}, but`);
    expect(open(start)).toBeGreaterThan(start);
  });
});

test("a counter file without a log is refused, and no log is made", () => {
  writeFileSync(files.counters, "");
  for (const position of [0, 134]) {
    expect(() => open(position)).toThrow(
      `the log ${files.log} is missing, but there is the counter file ${files.counters}`,
    );
  }
  expect(existsSync(files.log)).toBe(false);
  mkdirSync(files.log);
  expect(() => open(134)).toThrow("is missing");
});
