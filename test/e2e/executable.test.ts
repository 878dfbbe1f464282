import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inFolder, runTally, TALLY, TestServer } from "../support/server.ts";

const VERSION = (JSON.parse(readFileSync(join(import.meta.dir, "../../package.json"), "utf8")) as { version: string })
  .version;

/** The executable, alone in an empty folder, with an empty home and no environment. */
async function alone(use: (binary: string, where: { cwd: string; env: Record<string, string> }) => Promise<void>) {
  await inFolder(async (folder) => {
    const [cwd, home] = [join(folder, "here"), join(folder, "home")];
    mkdirSync(cwd);
    mkdirSync(home);
    const binary = join(cwd, "tally");
    copyFileSync(TALLY, binary);
    chmodSync(binary, 0o755);
    await use(binary, { cwd, env: { HOME: home, PATH: "" } });
    expect(readdirSync(home)).toEqual([]);
  });
}

describe("dist/tally, alone in an empty folder", () => {
  test("says its version and what it can do, and leaves nothing behind", async () => {
    await alone(async (binary, where) => {
      for (const word of ["version", "--version"]) {
        const { status, stdout } = await runTally([word], { ...where, binary });
        expect([status, stdout.trim()]).toEqual([0, expect.stringContaining(VERSION)]);
      }
      const help = await runTally(["help"], { ...where, binary });
      expect(help.status).toBe(0);
      for (const word of ["serve", "migrate", "verify", "version", "help", "--counters-max"])
        expect(help.stdout).toContain(word);
      const serve = await runTally(["help", "serve"], { ...where, binary });
      expect([serve.status, serve.stdout]).toEqual([0, expect.stringContaining("tally serve")]);
      expect(readdirSync(where.cwd)).toEqual(["tally"]);
    });
  }, 60_000);

  test("migrates, serves in ./data, and verifies, beside the server and alone", async () => {
    await alone(async (binary, where) => {
      const migrated = await runTally(["migrate"], { ...where, binary });
      expect([migrated.status, migrated.stderr]).toEqual([0, ""]);
      expect(readdirSync(where.cwd).sort()).toEqual(["data", "tally"]);
      const server = await TestServer.start({ data: "./data", binary, ...where });
      for (let i = 1; i <= 3; i++) {
        const answer = await fetch(`${server.url}v1/subjects/article/1/views`, { method: "POST" });
        expect(await answer.json()).toEqual({ count: i });
      }
      await fetch(`${server.url}v1/subjects/article/1/likes/7`, { method: "PUT" });
      const beside = await runTally(["verify"], { ...where, binary });
      expect([beside.status, beside.stderr]).toEqual([0, ""]);
      expect(await server.json("/v1/subjects/article/1?actor=7")).toMatchObject({
        counts: { views: 3, likes: 1 },
        mine: ["likes"],
      });
      expect(await server.stop()).toEqual({ status: 0, signal: null });
      const later = await runTally(["verify"], { ...where, binary });
      expect([later.status, later.stderr]).toEqual([0, ""]);
      const again = await TestServer.start({ data: "./data", binary, ...where });
      expect(await again.json("/v1/subjects/article/1/views")).toMatchObject({ count: 3 });
      expect(await again.stop()).toEqual({ status: 0, signal: null });
    });
  }, 60_000);

  test("does not read what lies there for another program", async () => {
    await alone(async (binary, where) => {
      await Bun.write(join(where.cwd, ".env"), "TALLY_PORT=nonsense\n");
      await Bun.write(join(where.cwd, "bunfig.toml"), 'preload = ["./missing.ts"]\n');
      const { status } = await runTally(["version"], { ...where, binary });
      expect(status).toBe(0);
      const server = await TestServer.start({ data: "./data", binary, ...where });
      expect(await server.stop()).toEqual({ status: 0, signal: null });
    });
  }, 60_000);
});

describe("exit statuses", () => {
  test.each([
    [64, ["serve", "--nonsense"], /--nonsense/],
    [64, ["nonsense"], /no command nonsense/],
    [64, ["serve", "more", "words"], /takes no words/],
    [78, ["serve", "--port", "70000"], /port/],
    [78, ["serve", "--host", "0.0.0.0"], /host/],
    [78, ["serve", "--redis-url", "redis://localhost"], /kafka/i],
  ])("%p for %p", async (expected, args, says) => {
    await inFolder(async (cwd) => {
      const { status, stderr, stdout } = await runTally(args, { cwd });
      expect([status, stdout]).toEqual([expected, ""]);
      expect(stderr).toMatch(says);
      expect(readdirSync(cwd)).toEqual([]);
    });
  });

  test("migrate makes a data directory where there is none, changes nothing the second time, and runs beside a server", async () => {
    await inFolder(async (folder) => {
      const data = join(folder, "data");
      expect(await runTally(["migrate", "--data", data])).toMatchObject({ status: 0, stderr: "" });
      expect(await runTally(["migrate", "--data", data])).toMatchObject({ status: 0, stderr: "" });
      const server = await TestServer.start({ data, args: ["--no-migrate"] });
      expect(await runTally(["migrate", "--data", data])).toMatchObject({ status: 0, stderr: "" });
      expect((await server.get("/readyz")).status).toBe(200);
      expect(await server.stop()).toEqual({ status: 0, signal: null });
    });
  }, 30_000);

  test("--no-migrate refuses a new data directory and an older one, in a line", async () => {
    await inFolder(async (folder) => {
      const data = join(folder, "data");
      const refused = {
        status: 78,
        stdout: "",
        stderr: "tally: the ledger's schema is not up to date: run `tally migrate`\n",
      };
      const start = () => runTally(["--no-migrate", "--data", data, "--port", "0"]);
      expect(await start()).toEqual(refused);
      expect(await runTally(["migrate", "--data", data])).toMatchObject({ status: 0 });
      const ledger = new Database(join(data, "ledger.db"));
      ledger.run(
        "DELETE FROM __drizzle_migrations WHERE created_at = (SELECT max(created_at) FROM __drizzle_migrations)",
      );
      ledger.close(true);
      expect(await start()).toEqual(refused);
      expect(await runTally(["verify", "--no-migrate", "--data", data])).toEqual(refused);
    });
  }, 30_000);
});
