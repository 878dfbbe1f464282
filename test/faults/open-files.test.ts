import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { Connection } from "../support/connection.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, TestServer } from "../support/server.ts";

const FILES = 160;
/** The projector brings the ledger to the disk every five seconds. */
const LOAD_MS = 7_000;

test("with all files open that it may have a server goes on, and takes connections again when there is room", async () => {
  await inFolder(async (data) => {
    const via = ["sh", "-c", `ulimit -n ${FILES}; exec "$0" "$@"`];
    const server = await TestServer.start({ data, via, args: ["--workers", "1"] });
    const connection = await Connection.open(server.url);
    const like = async (actor: number) =>
      (await connection.send("PUT", `/v1/subjects/article/1/likes/${actor}`)).status;
    expect(await like(0)).toBe(200);
    const { hostname, port } = new URL(server.url);
    const idle: Socket[] = Array.from({ length: FILES }, () =>
      connect(Number(port), hostname).on("error", () => undefined),
    );
    let likes = 1;
    for (const until = performance.now() + LOAD_MS; performance.now() < until; await Bun.sleep(20)) {
      expect([await like(likes++), server.hasEnded]).toEqual([200, false]);
    }
    for (const socket of idle) socket.destroy();
    await eventually(async () =>
      expect(await server.json("/v1/subjects/article/1/likes")).toMatchObject({ count: likes }),
    );
    connection.close();
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 60_000);
