import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Book } from "../support/book.ts";
import { Connection } from "../support/connection.ts";
import { fillLog } from "../support/filler.ts";
import { Load } from "../support/load.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";
import { type SmallDisk, smallDisk } from "../support/small-disk.ts";
import { closeKeyed, verify } from "../support/verify.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const DISK_MIB = 60;
const READY_MS_MAX = 15_000;

interface Ready {
  status: string;
  parts: Record<string, { status: string; since?: string; detail?: string }>;
}

/** `data` is the directory as the test sees it, `at` what a server needs to use it. */
type Use = (disk: SmallDisk, at: { data: string; via: string[] }, data: string) => Promise<void>;

async function onSmallDisk(use: Use): Promise<void> {
  const disk = await smallDisk(DISK_MIB);
  try {
    const at = { data: join(disk.inside, "data"), via: disk.via };
    await use(disk, at, join(disk.folder, "data"));
  } finally {
    await TestServer.killAll();
    await disk.remove();
  }
}

async function untilReady(server: TestServer, wanted: string): Promise<Ready> {
  const deadline = performance.now() + READY_MS_MAX;
  for (;;) {
    const answer = await server.get("/readyz");
    const text = await answer.text();
    const ready = JSON.parse(text) as Ready;
    if (ready.status === wanted) {
      expect(answer.status).toBe(wanted === "unable" ? 503 : 200);
      return ready;
    }
    if (performance.now() > deadline) throw new Error(`not ${wanted}: ${text} ${JSON.stringify(server.lines)}`);
    await Bun.sleep(20);
  }
}

test(`a full disk: each answer is durable or 503, and all is well when there is room (SEED=${SEED})`, async () => {
  await onSmallDisk(async (disk, at, data) => {
    fillLog(join(data, "log"), 300_000);
    const book = new Book();
    const server = await TestServer.start({ ...at, args: ["--flush-ms", "50"] });
    const load = new Load({ url: server.url, book, seed: SEED });
    await Bun.sleep(50);
    disk.fill();
    const unable = await untilReady(server, "unable");
    expect(unable.parts.log).toMatchObject({ status: "down", detail: expect.stringContaining("ENOSPC") });
    await Bun.sleep(300);
    await load.stop();
    expect(book.refused).toBeGreaterThan(0);
    expect(book.wrong).toEqual([]);
    await verify(server.url, book);
    expect(book.wrong).toEqual([]);

    disk.free();
    await untilReady(server, "ready");
    const refused = book.refused;
    const again = new Load({ url: server.url, book, seed: SEED + 1 });
    await Bun.sleep(500);
    await again.stop();
    expect(book.refused).toBe(refused);
    await verify(server.url, book);
    await server.kill();

    const after = await TestServer.start({ ...at });
    await closeKeyed(after.url, book);
    await verify(after.url, book);
    expect(await after.stop()).toEqual({ status: 0, signal: null });
    expect(book.wrong).toEqual([]);
  });
}, 60_000);

test(`SIGKILL while the disk is full: nothing acknowledged is lost (SEED=${SEED})`, async () => {
  await onSmallDisk(async (disk, at, data) => {
    fillLog(join(data, "log"), 300_000);
    const book = new Book();
    const server = await TestServer.start({ ...at, args: ["--flush-ms", "50"] });
    const load = new Load({ url: server.url, book, seed: SEED });
    await Bun.sleep(50);
    disk.fill();
    await untilReady(server, "unable");
    await Bun.sleep(300);
    await Promise.all([server.kill(), load.stop()]);

    // With no room at all it may say no, in one line, and must leave everything as it is.
    const full = TestServer.spawn({ ...at });
    const end = await Promise.race([full.ended, full.listening().then(() => null), Bun.sleep(5_000)]).catch(
      () => full.ended,
    );
    if (end) {
      expect(end.status).toBe(69);
      expect(full.stderr).toMatch(/^tally: the data directory .* cannot be used: .*\n$/);
      expect(full.stderr).toContain(at.data);
    }
    disk.free();
    // It may also wait for room.
    if (!full.hasEnded) await full.listening();
    await full.kill();
    const after = await TestServer.start({ ...at });
    await closeKeyed(after.url, book);
    await verify(after.url, book);
    expect(await after.stop()).toEqual({ status: 0, signal: null });
    expect(book.wrong).toEqual([]);
  });
}, 60_000);

test(`a disk without room for the ledger alone: writes go on, and it catches up (SEED=${SEED})`, async () => {
  await onSmallDisk(async (disk, at) => {
    const book = new Book();
    const server = await TestServer.start({ ...at, args: ["--flush-ms", "50"] });
    disk.fill();
    const load = new Load({ url: server.url, book, seed: SEED });
    const degraded = await untilReady(server, "degraded");
    expect(degraded.parts.ledger).toMatchObject({ status: "down" });
    await load.stop();
    await verify(server.url, book);
    expect([book.refused, book.wrong]).toEqual([0, []]);
    disk.free();
    await untilReady(server, "ready");
    await closeKeyed(server.url, book);
    await verify(server.url, book);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
    const after = await TestServer.start({ ...at });
    await verify(after.url, book);
    expect(await after.stop()).toEqual({ status: 0, signal: null });
    expect(book.wrong).toEqual([]);
  });
}, 60_000);

test("a full disk: what an administrator asks is 503, also of what was counted and is not in the log yet", async () => {
  await onSmallDisk(async (disk, at, data) => {
    fillLog(join(data, "log"), 2_000);
    const server = await TestServer.start({ ...at, args: ["--flush-ms", "60000"] });
    const send = (method: string, path: string, body?: object) =>
      fetch(new URL(`/v1/subjects/${path}`, server.url), {
        method,
        ...(body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
    expect((await send("POST", "article/1/views")).status).toBe(200);
    disk.fill();
    for (let actor = 0; (await send("PUT", `article/2/likes/${actor}`)).status === 200; actor++);
    for (const asked of [send("PUT", "article/1/views", { count: 7 }), send("DELETE", "article/1")]) {
      const { status, headers } = await asked;
      expect([status, headers.get("retry-after")]).toEqual([503, "1"]);
    }
    expect(await server.json("/v1/subjects/article/1/views")).toMatchObject({ count: 1 });
    disk.free();
    await untilReady(server, "ready");
    expect(await (await send("PUT", "article/1/views", { count: 7 })).json()).toEqual({ count: 7 });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 60_000);

test("a disk without room for the ledger alone: an erasure is done later, and one behind it is refused", async () => {
  await onSmallDisk(async (disk, at) => {
    const server = await TestServer.start({ ...at });
    disk.fill();
    const erase = (subject: string) => fetch(new URL(`/v1/subjects/${subject}`, server.url), { method: "DELETE" });
    const [first, second] = await Promise.all([erase("article/1"), Bun.sleep(50).then(() => erase("article/2"))]);
    expect([first.status, second.status]).toEqual([202, 503]);
    disk.free();
    await untilReady(server, "ready");
    expect((await erase("article/2")).status).toBe(200);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 60_000);

test("a disk without room for more counters: new ones are refused, those that are there count on", async () => {
  await onSmallDisk(async (disk, at) => {
    const server = await TestServer.start({ ...at });
    disk.fill();
    const counted: number[] = [];
    let refused = 0;
    let next = 0;
    const client = async () => {
      const connection = await Connection.open(server.url);
      while (refused === 0) {
        const id = next++;
        const { status, headers, body } = await connection.send("POST", `/v1/subjects/article/${id}/views`);
        if (status === 200) {
          expect(JSON.parse(body)).toEqual({ count: 1 });
          counted.push(id);
        } else {
          expect([status, headers.get("content-type"), headers.has("retry-after")]).toEqual([
            503,
            "application/problem+json",
            true,
          ]);
          refused++;
        }
      }
      connection.close();
    };
    await Promise.all(Array.from({ length: 64 }, client));
    const views = async (id: number, method = "GET") => {
      const connection = await Connection.open(server.url);
      const { body } = await connection.send(method, `/v1/subjects/article/${id}/views`);
      connection.close();
      return (JSON.parse(body) as { count: number }).count;
    };
    expect(await views(counted[0] as number, "POST")).toBe(2);
    disk.free();
    await untilReady(server, "ready");
    expect(await views(next + 1, "POST")).toBe(1);
    await server.kill();
    const after = await TestServer.start({ ...at });
    for (let i = 1; i < counted.length; i += 97) {
      expect(await after.json(`/v1/subjects/article/${counted[i]}/views`)).toMatchObject({ count: 1 });
    }
    expect(await after.stop()).toEqual({ status: 0, signal: null });
  });
}, 120_000);

test("a data directory that cannot be one is refused in a line: a file, nothing that can be made, read-only", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    for (const data of [file, join(file, "data"), "/proc/tally"]) {
      const { status, stderr, stdout } = await runTally(["serve", "--data", data, "--port", "0", "--grpc-port", "0"]);
      expect([data, status, stdout]).toEqual([data, 78, ""]);
      expect(stderr).toStartWith(`tally: the data directory ${data} cannot be written: `);
      expect(stderr.trimEnd()).not.toContain("\n");
    }
  });
  await onSmallDisk(async (disk, at, data) => {
    mkdirSync(data);
    const server = await TestServer.start(at);
    await server.stop();
    const folder = (await disk.makeReadOnly()) ? at.data : "/sys/tally";
    const { status, stderr } = await runTally(["serve", "--data", folder, "--port", "0", "--grpc-port", "0"], {
      via: at.via,
    });
    expect([status, stderr]).toEqual([
      78,
      expect.stringMatching(/^tally: the data directory .* cannot be written: .*\n$/),
    ]);
    expect(stderr).toContain(folder);
  });
}, 30_000);
