import { expect, test } from "bun:test";
import { join } from "node:path";
import { Api } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { fillLog } from "../support/filler.ts";
import { TestServer } from "../support/server.ts";
import { sharedServices } from "../support/services.ts";
import { smallDisk } from "../support/small-disk.ts";

const DISK_MIB = 60;
const FLUSH_MS = 50;
/** What Kafka takes in one message, with room to spare. */
const FRAME_BYTES = 256 * 1024;

const VIEWS = "/v1/subjects/article/full/views";

test("a cluster's node whose disk was full is ready again, though nobody tries to write, and counts as before", async () => {
  const disk = await smallDisk(DISK_MIB);
  const services = await sharedServices();
  try {
    fillLog(join(disk.folder, "data", "outbox"), 60_000, FRAME_BYTES);
    const server = await TestServer.start({
      data: join(disk.inside, "data"),
      via: disk.via,
      args: [...services.flags, "--flush-ms", `${FLUSH_MS}`],
    });
    const api = new Api();
    api.urls = [server.url];
    await eventually(async () => expect((await api.get("/readyz")).json.status).toBe("ready"));
    expect(await api.post(VIEWS)).toMatchObject({ status: 200, json: { count: 1 } });
    let views = 1;
    disk.fill();
    let liked = 0;
    for (let status = 200; status !== 503; liked++) {
      expect(liked).toBeLessThan(10_000);
      const all = await Promise.all(
        Array.from({ length: 50 }, (_, i) => api.put(`/v1/subjects/article/full/likes/${liked}-${i}`)),
      );
      status = all.find((reply) => reply.status !== 200)?.status ?? 200;
    }
    await eventually(async () => {
      const ready = await api.get("/readyz");
      expect(ready.status).toBe(503);
      expect(ready.json.parts.outbox).toMatchObject({ status: "down", detail: expect.stringContaining("ENOSPC") });
    });
    // In the table, and no note of it can be written.
    expect(await api.post(VIEWS)).toMatchObject({ status: 200, json: { count: ++views } });
    await Bun.sleep(10 * FLUSH_MS);
    expect(await api.get(VIEWS)).toMatchObject({ status: 200, json: { count: views } });
    disk.free();
    await eventually(async () => expect((await api.get("/readyz")).json.status).toBe("ready"));
    expect((await api.put("/v1/subjects/article/full/likes/after")).status).toBe(200);
    await Bun.sleep(10 * FLUSH_MS);
    expect(await api.post(VIEWS)).toMatchObject({ status: 200, json: { count: ++views } });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  } finally {
    await TestServer.killAll();
    await services.stop();
    await disk.remove();
  }
}, 60_000);
