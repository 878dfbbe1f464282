import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openWriting } from "../../src/embedded/ledger.ts";
import { filledLedger } from "../support/filled-ledger.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";

const CLIENTS = 8;
const LOOKS = 3;

/** A data directory with many small segments, and with an empty log. */
function withSegments(data: string, ...changes: string[]) {
  mkdirSync(data);
  const path = join(data, "ledger.db");
  const filled = filledLedger(path, { segmentRows: 40 });
  const db = openWriting(path);
  const emptied = [
    "UPDATE position SET at = 0",
    "INSERT INTO steps (at, is_hour, frame) SELECT unixepoch() / 3600 * 3600, 0, frame FROM changes",
    "DELETE FROM changes",
  ];
  for (const sql of [...emptied, ...changes]) db.run(sql);
  db.close(true);
  return filled;
}

/** One whose ledger keeps a filter by which nobody finds a segment's rows. */
function withHole(data: string): string[] {
  const hole = "UPDATE filter_parts SET bits = zeroblob(length(bits)) WHERE kind = 'segment' AND number = 2";
  const { registersOf } = withSegments(data, hole);
  return registersOf(2).map(({ subject, actor }) => `of segment 2 says never of likes of ${actor} on ${subject}`);
}

async function verify(data: string, ...args: string[]) {
  const { status, stdout, stderr } = await runTally(["verify", ...args, "--data", data]);
  const lines = stdout.trim().split("\n");
  return { status, stderr, summary: lines.at(-1) ?? "", lines: lines.slice(0, -1) };
}

/** Named as the memory has it, which came from what is kept, and as it is kept. */
function expectNamed(lines: string[], hole: string[]): void {
  expect(lines.length).toBe(2 * hole.length);
  for (const each of hole) {
    expect(lines.find((line) => line.startsWith(`filter ${each}`))).toBeDefined();
    const kept = each.replace("says", ", as the ledger keeps it, says").replace(" ,", ",");
    expect(lines.find((line) => line.startsWith(`filter ${kept}`))).toBeDefined();
  }
}

test("verify names what a filter denies, and --repair mends it, without a server", async () => {
  await inFolder(async (folder) => {
    const data = join(folder, "data");
    const hole = withHole(data);
    const found = await verify(data);
    expect([found.status, found.stderr]).toEqual([1, ""]);
    expectNamed(found.lines, hole);
    const mended = await verify(data, "--repair");
    expect([mended.status, mended.lines.every((line) => line.endsWith(" (mended)"))]).toEqual([0, true]);
    expectNamed(mended.lines, hole);
    expect(await verify(data)).toMatchObject({ status: 0, lines: [] });
  });
}, 120_000);

test("beside a server too, which then answers right", async () => {
  await inFolder(async (folder) => {
    const data = join(folder, "data");
    const hole = withHole(data);
    const server = await TestServer.start({ data });
    const [, actor, subject] = /likes of (\S+) on (\S+)/.exec(hole[0] as string) as string[];
    const of = `/v1/subjects/${subject}/likes/${encodeURIComponent(actor as string)}`;
    expect(await server.json(of)).toMatchObject({ active: false });
    const found = await verify(data);
    expect(found.status).toBe(1);
    expectNamed(found.lines, hole);
    expect(await verify(data, "--repair")).toMatchObject({ status: 0, summary: expect.stringContaining("mended") });
    expect(await server.json(of)).toMatchObject({ active: true });
    expect(await verify(data)).toMatchObject({ status: 0, lines: [] });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
    expect(await verify(data)).toMatchObject({ status: 0, lines: [] });
  });
}, 120_000);

test("beside a server that many act on it finds nothing", async () => {
  await inFolder(async (folder) => {
    const data = join(folder, "data");
    withSegments(data);
    const server = await TestServer.start({ data });
    let isOver = false;
    let acts = 0;
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      for (let i = 0; !isOver; i++) {
        const subject = `/v1/subjects/article/${i % 50}`;
        const method = i % 5 === 4 ? "DELETE" : "PUT";
        // Of the rows that are there already, which move, and new ones.
        const actor = i % 3 === 0 ? `é${(client * 61 + i) % 500}` : `new-${client}-${i >> 2}`;
        const like = await fetch(new URL(`${subject}/likes/${encodeURIComponent(actor)}`, server.url), { method });
        const view = await fetch(new URL(`${subject}-${client}-${i}/views`, server.url), { method: "POST" });
        expect([like.status, view.status]).toEqual([200, 200]);
        acts++;
      }
    });
    try {
      for (let look = 0; look < LOOKS; look++) {
        const before = acts;
        expect(await verify(data)).toMatchObject({ status: 0, lines: [], stderr: "" });
        expect(acts).toBeGreaterThan(before);
      }
    } finally {
      isOver = true;
      await Promise.all(clients);
    }
    expect(await verify(data, "--repair")).toMatchObject({ status: 0, lines: [] });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 120_000);
