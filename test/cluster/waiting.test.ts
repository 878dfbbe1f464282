import { expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { inFolder, TestServer } from "../support/server.ts";

/** Nobody listens there. */
const NOWHERE = [
  ["--redis-url", "redis://127.0.0.1:1"],
  ["--kafka-brokers", "127.0.0.1:1"],
  ["--mysql-url", "mysql://u:p@127.0.0.1:1/x"],
].flat();

test.each(["serve", "consume"] as const)(
  "%s waits for stores that it has never seen, and stops when it is told to",
  async (command) => {
    await inFolder(async (data) => {
      const server = TestServer.spawn({ command, data, args: NOWHERE });
      await eventually(async () => {
        expect(server.lines.map(({ msg }) => String(msg))).toContainEqual(expect.stringContaining("waiting"));
      });
      expect(await server.stop()).toEqual({ status: 0, signal: null });
    });
  },
);
