import { afterEach, beforeEach, expect, mock, test } from "bun:test";
import * as fs from "node:fs";
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileLogReader, LogHead, LogWriter, trimLog } from "./log.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-log-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function open() {
  const head = new LogHead();
  return { head, log: new LogWriter(folder, head), reader: new FileLogReader(folder, head) };
}
const payload = (i: number, bytes = 1000 + ((i * 7919) % 50_000)) => Buffer.alloc(bytes, i % 251);
const firstFile = () => join(folder, readdirSync(folder).filter((name) => name.endsWith(".log"))[0] as string);

test("what was appended is read back in order, across files, from any frame on, after any number of openings", () => {
  let { log, reader } = open();
  const ends: number[] = [];
  for (let i = 0; i < 1500; i++) {
    if (i % 400 === 399) {
      log.close();
      ({ log, reader } = open());
    }
    ends.push(log.append(payload(i)));
  }
  expect(readdirSync(folder).filter((name) => name.endsWith(".log")).length).toBeGreaterThan(2);
  for (const first of [0, 1, 700, 1499]) {
    let at = first === 0 ? 0 : (ends[first - 1] as number);
    let i = first;
    for (;;) {
      const frames = reader.read(at, 100_000);
      if (frames.length === 0) break;
      for (const frame of frames) {
        expect(Bun.hash.crc32(frame.bytes)).toBe(Bun.hash.crc32(payload(i)));
        at = frame.next;
        i++;
      }
    }
    expect(i).toBe(1500);
  }
});

test("a reader that takes little at once finds frames behind a file's long empty rest, and frames larger than it takes", () => {
  const { log, reader, head } = open();
  const sizes = [12, 8, 8, 3, 9, 14, 1, 15].map((MiB) => MiB * 1024 * 1024 - 100);
  for (const bytes of sizes) log.append(payload(1, bytes));
  const got: number[] = [];
  for (let at = 0; at < head.position; ) {
    const frames = reader.read(at, 1000);
    expect(frames.length).toBeGreaterThan(0);
    for (const { bytes, next } of frames) {
      got.push(bytes.length);
      at = next;
    }
  }
  expect(got).toEqual(sizes);
});

test("a torn last frame is the end, and is overwritten", () => {
  const { log, head } = open();
  log.append(payload(1));
  const end = head.position;
  log.append(payload(2));
  writeSync(openSync(firstFile(), "r+"), Buffer.from([1, 2, 3]), 0, 3, end + 20);
  const again = open();
  expect(again.head.position).toBe(end);
  again.log.append(payload(3, 5));
  expect(again.reader.read(0, 1e6).map((frame) => frame.bytes.length)).toEqual([payload(1).length, 5]);
});

test.each([
  ["no frame", 0],
  ["half a frame", 700],
])("a new file with %s is none: the log ends in the one before it, and goes on", (_, bytesWritten) => {
  const { log, reader, head } = open();
  const MiB = 1024 * 1024;
  while (head.position < 15 * MiB) log.append(payload(1, MiB - 100));
  const end = head.position;
  log.append(payload(2, 2 * MiB));
  log.close();
  const names = readdirSync(folder).filter((name) => name.endsWith(".log"));
  const last = join(folder, names.sort().at(-1) as string);
  writeFileSync(
    last,
    Buffer.concat([readFileSync(last).subarray(0, bytesWritten), Buffer.alloc(16 * MiB - bytesWritten)]),
  );

  const again = open();
  expect(again.head.position).toBe(end);
  const next = again.log.append(payload(3, 2 * MiB));
  const frames = again.reader.read(end, 100 * MiB);
  expect(frames.map((frame) => [frame.bytes.length, frame.next])).toEqual([[2 * MiB, next]]);
  reader.close();
});

test("what a killed process wrote and did not sync is on the disk before anybody builds on it", () => {
  open().log.append(payload(1));
  const real = { ...fs };
  const synced: string[] = [];
  const noting = (name: "fdatasyncSync" | "fsyncSync") => (fd: number) => {
    synced.push(name);
    real[name](fd);
  };
  mock.module("node:fs", () => ({
    ...real,
    fdatasyncSync: noting("fdatasyncSync"),
    fsyncSync: noting("fsyncSync"),
  }));
  try {
    open();
  } finally {
    mock.module("node:fs", () => real);
  }
  // The file's frames, and the folder that has its name.
  expect(synced).toEqual(["fdatasyncSync", "fsyncSync"]);
});

test("a damaged frame with a sound one behind it is not taken for the end", () => {
  const { log } = open();
  for (let i = 1; i < 4; i++) log.append(payload(i));
  writeSync(openSync(firstFile(), "r+"), Buffer.from([255]), 0, 1, 100);
  expect(open).toThrow(/damaged at byte 0/);
});

test("trimmed files are used again, and what stood in them is not read as new", () => {
  const { log, reader, head } = open();
  const big = () => payload(9, 1024 * 1024);
  while (head.position < 40 * 1024 * 1024) log.append(big());
  trimLog(folder, 35 * 1024 * 1024);
  expect(readdirSync(folder)).toContain("spare");
  const from = head.position;
  for (let i = 0; i < 12; i++) log.append(big());
  expect(readdirSync(folder)).not.toContain("spare");
  expect(reader.read(from, 1e9).length).toBe(12);
  log.close();
  const end = head.position;
  expect(open().head.position).toBe(end);
  expect(() => reader.read(0, 1000)).toThrow(/no longer has position 0/);
});
