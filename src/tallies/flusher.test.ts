import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { shardOf } from "../arithmetic/shard-of.ts";
import { readFrame } from "../records.ts";
import { Flusher } from "./flusher.ts";
import { CounterTable } from "./table.ts";

const PARTITIONS = 4;

test("each note holds shards of one partition: of a flush, and of what is noted for a job", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tally-flusher-"));
  const path = join(folder, "counters.tally");
  const table = CounterTable.create({ path, countersMax: 100, source: "0123456789abcdef", nowMs: 5 });
  const notes: { partitions: number[]; subjects: string[] }[] = [];
  const append = async (frame: Uint8Array) => {
    const { records } = readFrame(Buffer.from(frame));
    const partitions = new Set(records.map(({ shard }) => shard % PARTITIONS));
    notes.push({ partitions: [...partitions], subjects: records.map(({ subject }) => subject) });
    return notes.length;
  };
  const flusher = new Flusher({ table, append, source: "run", partitions: PARTITIONS });
  const subjects = Array.from({ length: 20 }, (_, i) => `article/${i}`);
  const slots = subjects.map((subject) => {
    const slot = table.claim(1, subject);
    table.install(slot, 0);
    return slot;
  });
  const wanted = new Set(subjects.map((subject) => shardOf(subject) % PARTITIONS));
  expect(wanted.size).toBe(PARTITIONS);
  const flushes = [
    () => flusher.flush(0),
    () =>
      flusher.around(
        () => slots,
        0,
        async () => expect(slots.map((slot) => table.owed(slot))).toEqual(slots.map(() => 0)),
      ),
  ];
  for (const flush of flushes) {
    notes.length = 0;
    for (const slot of slots) table.add(slot, 3);
    await flush();
    expect(notes.map(({ partitions }) => partitions.length)).toEqual([1, 1, 1, 1]);
    expect(notes.flatMap((note) => note.subjects).sort()).toEqual([...subjects].sort());
  }
  table.close();
  rmSync(folder, { recursive: true });
});
