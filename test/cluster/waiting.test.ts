import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { inFolder, TestServer } from "../support/server.ts";

/** In it a signal has come. */
const SIGNAL_MS = 100;

/** Nobody listens there. */
const NOWHERE = [
  ["--redis-url", "redis://127.0.0.1:1"],
  ["--kafka-brokers", "127.0.0.1:1"],
  ["--mysql-url", "mysql://u:p@127.0.0.1:1/x"],
].flat();

test.each(["serve", "consume"] as const)(
  "%s waits for stores that it has never seen, through SIGHUP, and stops when it is told to",
  async (command) => {
    await inFolder(async (data) => {
      const server = TestServer.spawn({ command, data, args: NOWHERE });
      const waits = async () => {
        expect(server.lines.map(({ msg }) => String(msg))).toContainEqual(expect.stringContaining("waiting"));
        const { url } = server.lines.find((line) => "url" in line) as { url: string };
        const ready = await fetch(new URL("/readyz", url));
        const down = expect.objectContaining({ status: "down", since: expect.any(String) });
        expect(ready.status).toBe(503);
        expect(await ready.json()).toMatchObject({ status: "starting", parts: { mysql: down, kafka: down } });
      };
      await eventually(waits);
      server.signal("SIGHUP");
      await Bun.sleep(SIGNAL_MS);
      await waits();
      expect(await server.stop()).toEqual({ status: 0, signal: null });
    });
  },
);

test("a projector that waits reads tally.yaml again on SIGHUP", async () => {
  await inFolder(async (folder) => {
    const config = join(folder, "tally.yaml");
    writeFileSync(config, "");
    const args = [...NOWHERE, "--config", config];
    const server = TestServer.spawn({ command: "consume", data: folder, args });
    const said = (msg: string) => server.lines.filter((line) => line.msg === msg);
    await eventually(async () => expect(said("the start waits for others")).toHaveLength(1));
    writeFileSync(config, "logLevel: warn\nhistoryDays: 7\n");
    server.signal("SIGHUP");
    await eventually(async () => expect(said("these settings need a restart")).toHaveLength(1));
    expect(said("these settings need a restart")[0]).toMatchObject({ level: "warn", settings: ["historyDays"] });
    // Information, which is not written any more.
    expect(said("settings read again")).toEqual([]);
    writeFileSync(config, "logLevel: loud\n");
    server.signal("SIGHUP");
    await eventually(async () => expect(said("the new settings are wrong, the old ones stay")).toHaveLength(1));
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
});
