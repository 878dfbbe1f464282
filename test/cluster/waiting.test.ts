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
        const { url } = server.lines.find((line) => "url" in line) as { url: string };
        const ready = await fetch(new URL("/readyz", url));
        const down = expect.objectContaining({ status: "down", since: expect.any(String) });
        expect(ready.status).toBe(503);
        expect(await ready.json()).toMatchObject({ status: "starting", parts: { mysql: down, kafka: down } });
      });
      expect(await server.stop()).toEqual({ status: 0, signal: null });
    });
  },
);
