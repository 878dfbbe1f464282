import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LogHead, LogWriter } from "../local/log.ts";
import { OutboxMark } from "./outbox-mark.ts";

const ROOT = mkdtempSync(join(tmpdir(), "tally-outbox-mark-"));
afterAll(() => rmSync(ROOT, { recursive: true }));

/** An outbox of some frames; where each ends. */
function newOutbox(): { folder: string; ends: number[] } {
  const folder = mkdtempSync(join(ROOT, "outbox-"));
  const writer = new LogWriter(folder, new LogHead(), { isLoose: true });
  const ends = [1, 2, 3].map((byte) => writer.append(Buffer.alloc(100, byte), false));
  writer.close();
  return { folder, ends };
}

/** A run on the folder: up to where it finds the outbox applied, and then, where that is said, has it applied. */
function run(folder: string, moveTo?: number): number {
  const writer = new LogWriter(folder, new LogHead(), { isLoose: true });
  const applied = new LogHead();
  const mark = new OutboxMark(folder, writer, applied);
  const found = applied.position;
  if (moveTo !== undefined) mark.moveTo(moveTo);
  writer.close();
  mark.close();
  return found;
}

test("the next run goes on where the ledger had the outbox", () => {
  const { folder, ends } = newOutbox();
  expect(run(folder, ends[0])).toBe(0);
  expect(run(folder, ends[2])).toBe(ends[0] as number);
  expect(run(folder)).toBe(ends[2] as number);
});

test("what is in front of the mark is on the disk before the mark is", () => {
  const { folder, ends } = newOutbox();
  const mark = join(folder, "applied.json");
  const marked: string[] = [];
  const sync = () => {
    marked.push(readFileSync(mark, { encoding: "utf8", flag: "a+" }));
  };
  new OutboxMark(folder, { sync, head: ends[2] as number }, new LogHead()).moveTo(ends[1] as number);
  expect(marked).toEqual([""]);
  expect(readFileSync(mark, "utf8")).toContain(`:${ends[1]}}`);
});

test("one behind the outbox's end is not believed, also when the outbox has come so far, nor one that is spoiled", () => {
  const { folder, ends } = newOutbox();
  const mark = join(folder, "applied.json");
  writeFileSync(mark, JSON.stringify({ applied: (ends[2] as number) + 1 }));
  expect(run(folder)).toBe(0);
  const writer = new LogWriter(folder, new LogHead(), { isLoose: true });
  writer.append(Buffer.alloc(100, 4));
  writer.close();
  expect(run(folder)).toBe(0);
  writeFileSync(mark, "");
  expect(run(folder)).toBe(0);
});

test("a disk that refuses the file is none of its matter", () => {
  const { folder, ends } = newOutbox();
  const mark = new OutboxMark(folder, { sync: () => {}, head: ends[2] as number }, new LogHead());
  rmSync(folder, { recursive: true });
  mark.moveTo(ends[0] as number);
  expect(mark.position).toBe(ends[0] as number);
});
