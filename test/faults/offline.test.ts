import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { inFolder, runTally, TestServer } from "../support/server.ts";

const KINDS = (likes: "tally" | "relation") => ["--metrics", `{views: {kind: tally}, likes: {kind: ${likes}}}`];
const ENDED_WELL = { status: 0, signal: null };
const HOUR_S = 3_600;

function look<Row>(data: string, sql: string): Row[] {
  const db = new Database(join(data, "ledger.db"), { readonly: true });
  try {
    return db.query<Row, []>(sql).all();
  } finally {
    db.close();
  }
}

const COMMANDS = [["export"], ["verify"], ["verify", "--repair"]];

describe("commands that read, without a server", () => {
  test("take metrics and kinds from the ledger, and add none", async () => {
    await inFolder(async (data) => {
      const server = await TestServer.start({ data, args: KINDS("tally") });
      for (const name of ["views", "likes"])
        await fetch(`${server.url}v1/subjects/article/1/${name}`, { method: "POST" });
      // What a killed server owes is in it all the same.
      await server.kill();
      for (const command of COMMANDS) {
        const { status, stdout, stderr } = await runTally([...command, "--data", data]);
        expect([status, stderr.replace(/^\{.*"level":"info".*\n/gm, "")], command.join()).toEqual([0, ""]);
        if (command[0] !== "export") continue;
        expect(JSON.parse(stdout.split("\n")[0] as string).metrics).toEqual({ likes: "tally", views: "tally" });
        expect(stdout).toContain('{"metric":"likes","subject":"article/1","count":1,');
      }
      expect(look(data, "SELECT name FROM metrics ORDER BY id")).toEqual([{ name: "views" }, { name: "likes" }]);
      const again = await TestServer.start({ data, args: KINDS("tally") });
      expect(await again.json("/v1/subjects/article/1")).toMatchObject({ counts: { views: 1, likes: 1 } });
      expect(await again.stop()).toEqual(ENDED_WELL);
    });
  }, 60_000);

  test("leave an empty folder's server free to choose its metrics", async () => {
    await inFolder(async (data) => {
      for (const command of COMMANDS)
        expect(await runTally([...command, "--data", data])).toMatchObject({ status: 0, stderr: "" });
      const server = await TestServer.start({ data, args: KINDS("tally") });
      expect(await server.stop()).toEqual(ENDED_WELL);
    });
  }, 60_000);

  test("fold no history that the server keeps", async () => {
    await inFolder(async (data) => {
      const args = ["--history-days", "3650"];
      const server = await TestServer.start({ data, args });
      const at = new Date(Date.now() - 600 * 24 * HOUR_S * 1000);
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ at });
      await fetch(`${server.url}v1/subjects/article/1/views`, { method: "POST", headers, body });
      await server.stop();
      // As it is once the ledger has tidied up.
      const db = new Database(join(data, "ledger.db"));
      for (const sql of [
        "INSERT INTO counts (subject, metric, count) SELECT subject, metric, amount FROM deltas",
        "INSERT INTO history (at, subject, metric, amount) SELECT at, subject, metric, amount FROM deltas",
        "DELETE FROM deltas",
      ])
        db.run(sql);
      db.close();
      const hour = Math.floor(at.getTime() / 1000 / HOUR_S) * HOUR_S;
      for (const command of COMMANDS) {
        expect(await runTally([...command, "--data", data])).toMatchObject({ status: 0 });
        expect(look<{ at: number }>(data, "SELECT at FROM history").map(({ at }) => at)).toEqual([hour]);
      }
    });
  }, 60_000);
});

describe("a metric of another kind than it was", () => {
  test("is refused where it has counted, also where only a killed server's counters or log know of it", async () => {
    await inFolder(async (data) => {
      const server = await TestServer.start({ data, args: [...KINDS("tally"), "--flush-ms", "60000"] });
      await fetch(`${server.url}v1/subjects/article/1/likes`, { method: "POST" });
      await server.kill();
      for (let i = 0; i < 2; i++) {
        const end = await runTally(["serve", "--data", data, "--port", "0", "--grpc-port", "0", ...KINDS("relation")]);
        expect([end.status, end.stderr]).toEqual([78, expect.stringContaining("likes is stored as a tally")]);
      }
      const again = await TestServer.start({ data, args: KINDS("tally") });
      expect(await again.json("/v1/subjects/article/1")).toMatchObject({ counts: { views: 0, likes: 1 } });
      expect(await again.stop()).toEqual(ENDED_WELL);
    });
  }, 60_000);

  test("is taken where it has never counted, however the server ended", async () => {
    await inFolder(async (data) => {
      const path = "v1/subjects/article/1";
      const before = await TestServer.start({ data, args: KINDS("relation") });
      await fetch(`${before.url}${path}/views`, { method: "POST" });
      await before.kill();
      const server = await TestServer.start({ data, args: KINDS("tally") });
      expect(server.lines.some((line) => String(line.msg).includes("of another kind now"))).toBe(true);
      await fetch(`${server.url}${path}/likes`, { method: "POST" });
      await server.kill();
      const { status, stdout } = await runTally(["export", "--data", data]);
      expect([status, JSON.parse(stdout.split("\n")[0] as string).metrics]).toEqual([
        0,
        { likes: "tally", views: "tally" },
      ]);
      expect(await runTally(["verify", "--data", data])).toMatchObject({ status: 0 });
      const last = await TestServer.start({ data, args: KINDS("tally") });
      expect(await last.json(`/${path}`)).toMatchObject({ counts: { views: 1, likes: 1 } });
      expect(await last.stop()).toEqual(ENDED_WELL);
    });
  }, 60_000);
});
