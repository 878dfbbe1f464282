import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { ask, done, expected, fill, pathOf, send, shown } from "../support/admin-life.ts";
import { AdminModel } from "../support/admin-model.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";

const PAGE = join(import.meta.dir, "../../docs/operating.md");

/** The command blocks of the page's part about backups, in its order. */
function blocks(): string[][] {
  const part = /\n## Backups\n(.*?)\n## /s.exec(readFileSync(PAGE, "utf8"))?.[1] ?? "";
  return Array.from(part.matchAll(/```\n(.*?)\n```/gs), ([, block = ""]) => block.split("\n"));
}

/** Does in `folder` what the page says; the server that it starts, if it does. */
async function follow(folder: string, commands: readonly string[]): Promise<TestServer | null> {
  let server: TestServer | null = null;
  for (const command of commands) {
    const sql = /^sqlite3 (\S+) "(.*)"$/.exec(command);
    const data = /^tally serve --data (\S+)$/.exec(command)?.[1];
    if (sql) runSql(join(folder, sql[1] as string), (sql[2] as string).replace("'", `'${folder}/`));
    else if (data) server = await TestServer.start({ data: join(folder, data) });
    else {
      const { exitCode } = Bun.spawnSync(["sh", "-c", command], { cwd: folder });
      expect([command, exitCode]).toEqual([command, 0]);
    }
  }
  return server;
}

/** As the shell of SQLite would. */
function runSql(path: string, sql: string): void {
  const db = new Database(path);
  db.run("PRAGMA busy_timeout = 10000");
  db.run(sql);
  db.close(true);
}

async function verifies(data: string): Promise<void> {
  const { status, stdout, stderr } = await runTally(["verify", "--data", data]);
  expect([status, stdout, stderr]).toEqual([0, expect.stringContaining("0 differences"), expect.anything()]);
}

/** Adds 5 views once, however often it is sent; the count. */
async function addOnce(server: TestServer): Promise<number> {
  const headers = { "content-type": "application/json", "idempotency-key": "once" };
  const url = new URL(`${pathOf("article/two")}/views`, server.url);
  const answer = await fetch(url, { method: "POST", body: '{"by":5}', headers });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { count: number }).count;
}

/** The ranking of the last hour has what was counted before the copy and after it. */
async function ranks(server: TestServer, model: AdminModel): Promise<void> {
  await eventually(async () => {
    const { items } = await server.json<{ items: { subject: string; count: number }[] }>(
      "/v1/top/article/views?window=1h",
    );
    const found = Object.fromEntries(items.map(({ subject, count }) => [subject, count]));
    for (const subject of ["article/one", "article/two"]) expect(found[subject]).toBe(model.count("views", subject));
  });
}

/** Some of everything, of which the ledger has all. */
async function live(data: string): Promise<{ server: TestServer; model: AdminModel }> {
  const model = new AdminModel();
  const server = await TestServer.start({ data });
  await fill(server, model, 0);
  model.views.set("article/two", await addOnce(server));
  expect(await ask(server, "erase-actor")).toBe(200);
  done(model, "erase-actor");
  // It flushes, and waits for the ledger.
  await verifies(data);
  return { server, model };
}

test("a copy that was made beside a server, as the page says, is where a server in an empty directory goes on", async () => {
  await inFolder(async (folder) => {
    const [copy = [], restore = []] = blocks();
    const { server, model } = await live(join(folder, "data"));
    await follow(folder, copy);
    const atTheCopy = expected(model);
    await fill(server, new AdminModel(), 1);
    await server.kill();

    let restored = (await follow(folder, restore)) as TestServer;
    const data = join(folder, "restored");
    expect(await shown(restored)).toEqual(atTheCopy);
    const old = { at: new Date(Date.now() - 3600_000).toISOString() };
    expect(await send(restored, "PUT", `${pathOf("article/two")}/likes/x`, old)).toBe(200);
    expect(await addOnce(restored)).toBe(model.count("views", "article/two"));
    expect(await shown(restored)).toEqual(atTheCopy);
    // What a ranking takes in is named by its place in the log: behind what the copy has of it.
    await fill(restored, model, 2);
    await ranks(restored, model);
    await restored.kill();

    restored = await TestServer.start({ data });
    expect(await shown(restored)).toEqual(expected(model));
    await verifies(data);
    await restored.stop();
    await verifies(data);
  });
}, 60_000);

test("a copy in the place of a ledger that still has its log gets what came after it, as the page says", async () => {
  await inFolder(async (folder) => {
    const [copy = [], , restore = []] = blocks();
    const data = join(folder, "data");
    const { server, model } = await live(data);
    await follow(folder, copy);
    await fill(server, model, 1);
    expect(await ask(server, "erase-actor")).toBe(200);
    done(model, "erase-actor");
    await server.stop();

    const restored = (await follow(folder, restore)) as TestServer;
    expect(await shown(restored)).toEqual(expected(model));
    await verifies(data);
    await restored.stop();
  });
}, 60_000);

const APART: [what: string, message: string, lose: (data: string) => void][] = [
  ["no log", "is missing", (data) => rmSync(join(data, "log"), { recursive: true })],
  [
    "a log that ends too early",
    "ends at 0",
    (data) => {
      const files = readdirSync(join(data, "log")).filter((name) => name.endsWith(".log"));
      for (const name of files) truncateSync(join(data, "log", name), 0);
    },
  ],
];

test.each(APART)(
  "a ledger and a counter file with %s: no start, until they are moved away",
  async (_, message, lose) => {
    await inFolder(async (folder) => {
      const data = join(folder, "data");
      const { server, model } = await live(data);
      await server.stop();
      lose(data);
      const refused = TestServer.spawn({ data });
      refused.listening().catch(() => undefined);
      expect(await refused.ended).toEqual({ status: 78, signal: null });
      expect(refused.stderr).toContain(`the log ${join(data, "log")} ${message}`);
      expect(refused.lines.map(({ msg }) => msg)).not.toContain("listening");

      for (const name of ["log", "counters.tally"]) rmSync(join(data, name), { recursive: true, force: true });
      const restored = await TestServer.start({ data });
      expect(await shown(restored)).toEqual(expected(model));
      await restored.stop();
      await verifies(data);
    });
  },
  60_000,
);
