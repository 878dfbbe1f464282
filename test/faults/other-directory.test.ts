import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DataLock } from "../../src/local/lock.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";

const ENDED_WELL = { status: 0, signal: null };
/** Nobody listens there. */
const STORES = [
  "--redis-url",
  "redis://127.0.0.1:9",
  "--kafka-brokers",
  "127.0.0.1:9",
  "--mysql-url",
  "mysql://127.0.0.1:9/t",
];

describe("a data directory of the other deployment", () => {
  test("a node's is refused by everything that has no URLs of the stores", async () => {
    await inFolder(async (folder) => {
      const data = join(folder, "node");
      mkdirSync(data);
      writeFileSync(join(data, "cluster.json"), '{"incarnation":"1","metrics":[],"partitions":4}');
      const input = join(folder, "input.ndjson");
      writeFileSync(input, '{"metric":"views","subject":"article/1"}\n');
      const stderr = `tally: ${data} is the data directory of a cluster's node, and --redis-url, --kafka-brokers and --mysql-url are missing: give them, or choose another with --data\n`;
      const serve = ["serve", "--port", "0", "--grpc-port", "0"];
      const commands = [serve, ["verify"], ["verify", "--repair"], ["export"], ["import", input], ["migrate"]];
      for (const command of commands)
        expect(await runTally([...command, "--data", data]), command.join()).toEqual({
          status: 78,
          stdout: "",
          stderr,
        });
      expect(readdirSync(data)).toEqual(["cluster.json"]);
    });
  }, 30_000);

  test("one with a ledger may become a node's, which says how its counts come over", async () => {
    await inFolder(async (data) => {
      const alone = await TestServer.start({ data });
      await fetch(`${alone.url}v1/subjects/article/1/views`, { method: "POST" });
      expect(await alone.stop()).toEqual(ENDED_WELL);
      const node = TestServer.spawn({ data, args: STORES });
      const says = expect.stringMatching(/^a server without a cluster has counted .*`tally export`.*`tally import`/);
      await eventually(async () => expect(node.lines).toContainEqual(expect.objectContaining({ msg: says, data })));
      await node.kill();
      const again = await TestServer.start({ data });
      expect(await again.json("/v1/subjects/article/1/views")).toMatchObject({ count: 1 });
      expect(await again.stop()).toEqual(ENDED_WELL);
    });
  }, 30_000);

  test("one that has a lock only, or nothing, is anybody's", async () => {
    await inFolder(async (data) => {
      DataLock.takeOrRefuse(data).release();
      // It waits for the stores, so it has taken the directory.
      const node = TestServer.spawn({ data, args: STORES });
      await eventually(async () =>
        expect(node.lines.map(({ msg }) => msg)).toContainEqual(expect.stringMatching(/^the start waits/)),
      );
      await node.kill();
      const alone = await TestServer.start({ data });
      expect(await alone.stop()).toEqual(ENDED_WELL);
    });
  }, 30_000);
});
