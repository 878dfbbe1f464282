import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { random } from "../../test/support/random.ts";
import { Adder } from "./adder.ts";
import { CounterTable } from "./table.ts";

const folder = mkdtempSync(join(tmpdir(), "tally-adder-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("adds to what is at hand, and leaves what is not, as the table's own find and add would", () => {
  const path = join(folder, "counters");
  const main = CounterTable.create({ path, countersMax: 5_000, source: "0123456789abcdef", nowMs: 0 });
  const table = CounterTable.attach(main.share(), 2);
  const adder = new Adder(table);
  const { below, pick, chance } = random(7);
  const ids = Array.from({ length: 400 }, (_, i) => pick(["", "é", "😀", "x".repeat(below(120)), "a/b"]) + i);
  const counts = new Map<string, number>();
  table.enter();
  for (const id of ids) {
    if (chance(0.2)) continue;
    const slot = table.claim(1 + (id.length % 3), `type/${id}`);
    if (chance(0.1)) continue; // there, and not loaded
    table.install(slot, 10);
    counts.set(id, 10);
  }
  table.leave();

  const left: [number, string, number, number][] = [];
  for (let round = 0; round < 50; round++) {
    const lines = Array.from({ length: below(300) }, () => ({ id: pick(ids), by: 1 + below(1_000) }));
    const texts = lines.map(({ id }) => Buffer.from(`type/${id}`));
    // At any place, also at none that words begin at.
    const bytes = new Uint8Array(Buffer.concat([Buffer.alloc(round % 5), ...texts]));
    let at = round % 5;
    table.enter();
    adder.begin(bytes);
    const take = (metric: number, from: number, to: number, by: number, line: number) =>
      void left.push([metric, Buffer.from(bytes.subarray(from, to)).toString(), by, line]);
    for (const [i, { id, by }] of lines.entries()) {
      if (adder.isFull) adder.flush(take);
      const length = (texts[i] as Buffer).length;
      adder.put(1 + (id.length % 3), at, at + length, by, i);
      at += length;
    }
    adder.flush(take);
    table.leave();
    for (const { id, by } of lines) if (counts.has(id)) counts.set(id, (counts.get(id) as number) + by);
    for (const [metric, subject, by, line] of left) {
      const { id } = lines[line] as { id: string };
      expect([subject, metric, by]).toEqual([`type/${id}`, 1 + (id.length % 3), lines[line]?.by as number]);
      // Long keys are left to others, who add to them.
      if (!counts.has(id)) continue;
      expect(Buffer.byteLength(subject)).toBeGreaterThan(44);
      table.enter();
      table.add(table.find(metric, subject), by);
      table.leave();
    }
    left.length = 0;
  }
  table.enter();
  for (const [id, count] of counts) expect(table.shown(table.find(1 + (id.length % 3), `type/${id}`))).toBe(count);
  table.leave();
  const dirty = new Set<number>();
  main.takeDirty((slot) => dirty.add(slot));
  expect(dirty.size).toBe([...counts.values()].filter((count) => count > 10).length);
  main.close();
});
