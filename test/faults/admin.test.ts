import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ask, done, expected, fill, JOBS, type Job, pathOf, send, shown } from "../support/admin-life.ts";
import { AdminModel } from "../support/admin-model.ts";
import { ADMIN_POINTS } from "../support/fault-points.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";

async function verifies(data: string): Promise<void> {
  const { status, stdout, stderr } = await runTally(["verify", "--data", data]);
  expect([status, stdout, stderr]).toEqual([0, expect.stringContaining("0 differences"), expect.anything()]);
}

/** Those that every job comes by, the projector's too. */
const POINTS = [...ADMIN_POINTS, "projector.commit", "projector.committed", "projector.told"];

describe("a server that dies in the middle of what an administrator asked", () => {
  const cases = JOBS.flatMap((job) => POINTS.map((point) => [job, point] as const));
  test.each(cases.filter(([job, point]) => comesBy(job, point)))(
    "%s, at %s: it is done whole or not at all, and done again it is done",
    async (job, point) => {
      await inFolder(async (data) => {
        const model = new AdminModel();
        let server = await TestServer.start({ data, args: ["--flush-ms", "60000"] });
        await fill(server, model, 0);
        await server.kill();
        server = await TestServer.start({ data, args: ["--flush-ms", "60000"] });
        await fill(server, model, 1);
        // A projector has nothing to do at its start but what it is to die of; else all is still on its way.
        const isProjector = point.startsWith("projector.");
        await (isProjector ? server.stop() : server.kill());
        server = await TestServer.start({ data, fault: point, args: ["--flush-ms", "60000"] });
        if (!isProjector) await fill(server, model, 2);
        const before = expected(model);
        done(model, job);
        const after = expected(model);
        const status = await ask(server, job);
        const died = await Promise.race([server.ended, Bun.sleep(10_000)]);
        expect(died).toMatchObject({ signal: "SIGKILL" });
        expect(server.stderr).toContain(`fault: ${point}\n`);

        server = await TestServer.start({ data });
        const found = await shown(server);
        if (status === 200 || !found.every((line, i) => line === before[i])) expect(found).toEqual(after);
        expect(await ask(server, job)).toBe(200);
        expect(await shown(server)).toEqual(after);
        await verifies(data);
        await server.stop();
        await verifies(data);
      });
    },
    60_000,
  );
});

/** A set waits for no projector, and moves only one counter. */
function comesBy(job: Job, point: string): boolean {
  if (job === "set") return !point.startsWith("projector.") && point !== "admin.moving";
  if (point === "admin.moving") return job === "erase-subject";
  return point !== "admin.moved";
}

describe("what was erased", () => {
  /** A life of a data directory: its ledger is kept, then things are done, and erased. */
  async function live(data: string): Promise<{ model: AdminModel; backup: string }> {
    const model = new AdminModel();
    let server = await TestServer.start({ data });
    await fill(server, model, 0);
    await server.stop();
    const backup = join(data, "ledger.backup");
    copyFileSync(join(data, "ledger.db"), backup);
    server = await TestServer.start({ data });
    await fill(server, model, 1);
    for (const job of JOBS) {
      expect(await ask(server, job)).toBe(200);
      done(model, job);
      if (job === "erase-actor") {
        expect(await send(server, "PUT", `${pathOf("article/two")}/likes/y`)).toBe(200);
        model.actors("likes", "article/two").set("y", "");
      }
    }
    await fill(server, model, 2);
    expect(await ask(server, "erase-actor")).toBe(200);
    done(model, "erase-actor");
    expect(await shown(server)).toEqual(expected(model));
    await server.stop();
    return { model, backup };
  }

  async function isAsBefore(data: string, model: AdminModel): Promise<void> {
    const server = await TestServer.start({ data });
    expect(await shown(server)).toEqual(expected(model));
    const old = { at: new Date(Date.now() - 3600_000).toISOString() };
    expect(await send(server, "PUT", `${pathOf("article/two")}/likes/x`, old)).toBe(200);
    expect(await shown(server)).toEqual(expected(model));
    await verifies(data);
    await server.stop();
  }

  test("does not come back with an older ledger and the log", async () => {
    await inFolder(async (data) => {
      const { model, backup } = await live(data);
      for (const end of ["", "-wal", "-shm"]) rmSync(join(data, `ledger.db${end}`), { force: true });
      copyFileSync(backup, join(data, "ledger.db"));
      await isAsBefore(data, model);
    });
  }, 60_000);

  test("does not come back with an empty ledger and the whole log", async () => {
    await inFolder(async (data) => {
      const { model } = await live(data);
      for (const end of ["", "-wal", "-shm"]) rmSync(join(data, `ledger.db${end}`), { force: true });
      await isAsBefore(data, model);
    });
  }, 60_000);

  test("does not come back when the whole log is played again into the ledger", async () => {
    await inFolder(async (data) => {
      const { model } = await live(data);
      const db = new Database(join(data, "ledger.db"));
      db.run("UPDATE position SET at = 0");
      db.close(true);
      await isAsBefore(data, model);
    });
  }, 60_000);
});
