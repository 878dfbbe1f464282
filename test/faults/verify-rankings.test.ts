import { expect, test } from "bun:test";
import { join } from "node:path";
import { hourOf } from "../../src/arithmetic/windows.ts";
import { openWriting } from "../../src/embedded/ledger.ts";
import { ChangeWriter } from "../../src/rankings/changes.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";

const VIEWS = 1;

async function verify(data: string, ...args: string[]) {
  const { status, stdout, stderr } = await runTally(["verify", ...args, "--data", data]);
  const lines = stdout.trim().split("\n");
  return { status, stderr, lines: lines.slice(0, -1) };
}

async function view(server: TestServer, id: string, by: number): Promise<void> {
  const headers = { "content-type": "application/json" };
  const url = new URL(`/v1/subjects/article/${id}/views`, server.url);
  expect((await fetch(url, { method: "POST", headers, body: JSON.stringify({ by }) })).status).toBe(200);
}

async function ranks(server: TestServer, window: string, expected: [string, number][]): Promise<void> {
  await eventually(async () => {
    const answer = await fetch(new URL(`/v1/top/article/views?window=${window}`, server.url));
    const { items } = (await answer.json()) as { items: { subject: string; count: number }[] };
    expect(items.map(({ subject, count }) => [subject, count])).toEqual(expected);
  });
}

/** Views that nobody has counted, in this hour's steps. */
function damage(data: string): string {
  const at = hourOf(Math.floor(Date.now() / 1000));
  const writer = new ChangeWriter();
  writer.add(VIEWS, at, "article/one", 7);
  writer.add(VIEWS, at, "article/😀", 9);
  const db = openWriting(join(data, "ledger.db"));
  for (const frame of writer.finish())
    db.query("INSERT INTO steps (at, is_hour, frame) VALUES (?, 0, ?)").run(at, frame);
  db.close(true);
  return new Date(at * 1000).toISOString();
}

/** A row that is no frame. */
function breakOne(data: string): void {
  const db = openWriting(join(data, "ledger.db"));
  db.run("INSERT INTO steps (at, is_hour, frame) VALUES (unixepoch() / 3600 * 3600, 0, x'0101020304')");
  db.close(true);
}

test("a row that cannot be read costs the rankings alone, until it is repaired", async () => {
  await inFolder(async (folder) => {
    const data = join(folder, "data");
    const first = await TestServer.start({ data });
    await view(first, "one", 3);
    await first.stop();
    breakOne(data);
    const server = await TestServer.start({ data });
    await view(server, "one", 1);
    const top = () => fetch(new URL("/v1/top/article/views?window=1h", server.url));
    expect((await top()).status).toBe(503);
    const found = await verify(data);
    expect([found.status, found.lines]).toEqual([
      1,
      [expect.stringMatching(/^rankings: row \d+ of the table steps cannot be read$/)],
    ]);
    expect((await verify(data, "--repair")).status).toBe(0);
    await ranks(server, "1h", [["article/one", 4]]);
    expect(await verify(data)).toEqual({ status: 0, stderr: "", lines: [] });
    await server.stop();
  });
}, 60_000);

test("verify names what the rankings have and the history has not, and --repair mends it, with a server and without", async () => {
  await inFolder(async (folder) => {
    const data = join(folder, "data");
    const right: [string, number][] = [
      ["article/two", 4],
      ["article/one", 3],
    ];
    let server = await TestServer.start({ data, args: ["--flush-ms", "50"] });
    await view(server, "one", 3);
    await view(server, "two", 4);
    await ranks(server, "24h", right);
    expect(await verify(data)).toEqual({ status: 0, stderr: "", lines: [] });
    for (const isServed of [true, false]) {
      await server.stop();
      const hour = damage(data);
      if (isServed) {
        server = await TestServer.start({ data });
        await ranks(server, "24h", [["article/one", 10], ["article/😀", 9], right[0] as [string, number]]);
      }
      const named = [
        `rankings: views on article/one in the hour from ${hour}: 10, its history says 3`,
        `rankings: views on article/😀 in the hour from ${hour}: 9, its history says 0`,
      ];
      const found = await verify(data);
      expect([found.status, found.lines.sort()]).toEqual([1, named]);
      const mended = await verify(data, "--repair");
      expect([mended.status, mended.lines.sort()]).toEqual([0, named.map((line) => `${line} (mended)`)]);
      expect(await verify(data)).toEqual({ status: 0, stderr: "", lines: [] });
      if (!isServed) server = await TestServer.start({ data });
      for (const window of ["24h", "30d", "all"]) await ranks(server, window, right);
    }
    await server.stop();
  });
}, 60_000);
