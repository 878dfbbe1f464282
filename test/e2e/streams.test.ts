import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EventReader } from "../support/event-reader.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, TestServer } from "../support/server.ts";

async function streamsOf(server: TestServer): Promise<number> {
  return Number(/^tally_streams (\d+)$/m.exec(await (await server.get("/metrics")).text())?.[1]);
}

async function view(server: TestServer, subject: string): Promise<void> {
  const answer = await fetch(new URL(`/v1/subjects/${subject}/views`, server.url), { method: "POST" });
  expect(answer.status).toBe(200);
}

function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

test("a reader who takes nothing costs no memory, and then gets the latest", async () => {
  await inFolder(async (folder) => {
    const server = await TestServer.start({ data: join(folder, "data"), args: ["--workers", "1"] });
    const subjects = Array.from({ length: 1_000 }, (_, i) => `slow/${"x".repeat(100)}${i}`);
    const body = JSON.stringify({ subjects, metrics: ["views"] });
    let received = "";
    const { hostname, port } = new URL(server.url);
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        open(socket) {
          const head = `POST /v1/stream HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json`;
          socket.write(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
          socket.pause();
        },
        data(_socket, bytes) {
          received += bytes.toString("latin1");
        },
      },
    });
    await eventually(async () => expect(await streamsOf(server)).toBe(1));
    const before = residentMiB(server.pid);
    // 200 KB each time the stream is told: the sockets hold about twenty of these, and it is told more than 45 times.
    let views = 0;
    for (const until = performance.now() + 10_000; performance.now() < until; views++)
      await Promise.all(subjects.map((subject) => view(server, subject)));
    expect(residentMiB(server.pid) - before).toBeLessThan(40);
    socket.resume();
    await eventually(async () => {
      for (const subject of [subjects[0], subjects[999]])
        expect(received).toContain(`{"subject":"${subject}","metric":"views","count":${views}}`);
    });
    expect(received.split("event: count").length - 1).toBeLessThan(32_000);
    socket.end();
    await eventually(async () => expect(await streamsOf(server)).toBe(0));
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 120_000);

test("a reader who takes nothing does not hold up a stop", async () => {
  await inFolder(async (folder) => {
    const server = await TestServer.start({ data: join(folder, "data"), args: ["--workers", "1"] });
    const { hostname, port } = new URL(server.url);
    // 5,000 events of 200 bytes for each: more than sockets hold.
    const subjects = Array.from({ length: 1_000 }, (_, i) => `stop/${"x".repeat(110)}${i}`);
    const body = JSON.stringify({ subjects });
    const request = `POST /v1/stream HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const sockets = await Promise.all(
      Array.from({ length: 10 }, () =>
        Bun.connect({
          hostname,
          port: Number(port),
          socket: {
            open(socket) {
              for (let sent = 0; sent < request.length; ) {
                const now = socket.write(request.slice(sent));
                if (now <= 0) throw new Error("the request does not fit a socket");
                sent += now;
              }
              socket.pause();
            },
            data() {},
          },
        }),
      ),
    );
    await eventually(async () => expect(await streamsOf(server)).toBe(10));
    for (let views = 0; views < 20; views++) {
      await Promise.all(subjects.map((subject) => view(server, subject)));
      await Bun.sleep(220);
    }
    const began = performance.now();
    expect(await server.stop()).toEqual({ status: 0, signal: null });
    expect(performance.now() - began).toBeLessThan(9_000);
    for (const socket of sockets) socket.terminate();
  });
}, 60_000);

test("a reader who never takes anything is cut off, and leaves nothing behind", async () => {
  await inFolder(async (folder) => {
    const server = await TestServer.start({ data: join(folder, "data"), args: ["--workers", "1"] });
    const open = () => readdirSync(`/proc/${server.pid}/fd`).length;
    await streamsOf(server);
    const before = open();
    const { hostname, port } = new URL(server.url);
    const subjects = Array.from({ length: 1_000 }, (_, i) => `cut/${"x".repeat(110)}${i}`);
    const body = JSON.stringify({ subjects, metrics: ["views"] });
    const head = `POST /v1/stream HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json`;
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        open(socket) {
          socket.write(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
          socket.pause();
        },
        data() {},
      },
    });
    await eventually(async () => expect(await streamsOf(server)).toBe(1));
    const views = subjects.map((subject) => `views ${subject}`).join("\n");
    // 200 KB a round, until the socket is full and half a minute is over.
    const isCut = async () => {
      const init = { method: "POST", headers: { "content-type": "text/plain" }, body: views };
      expect((await fetch(new URL("/v1/events", server.url), init)).status).toBe(200);
      await Bun.sleep(100);
      expect(await streamsOf(server)).toBe(0);
    };
    await eventually(isCut, 90_000);
    await eventually(async () => expect(open()).toBeLessThanOrEqual(before + 2), 30_000);
    socket.terminate();
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 150_000);

test("10,000 changes arrive merged, the last of them exactly", async () => {
  await inFolder(async (folder) => {
    const server = await TestServer.start({ data: join(folder, "data") });
    const readers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => EventReader.follow(server.url, [`fast/${i % 5}`], ["views"])),
    );
    for (let i = 0; i < 100; i++)
      await Promise.all(Array.from({ length: 100 }, (_, j) => view(server, `fast/${j % 5}`)));
    for (const [i, reader] of readers.entries()) {
      await reader.untilCount(`fast/${i % 5}`, "views", 2_000);
      const counts = reader.events.map(({ data }) => data.count);
      expect(counts).toEqual([...new Set(counts)].sort((a, b) => a - b));
      expect(counts.length).toBeLessThan(200);
      await reader.close();
    }
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
});

test("a stop ends streams cleanly, and they resume with the next run", async () => {
  await inFolder(async (folder) => {
    const data = join(folder, "data");
    const first = await TestServer.start({ data });
    const readers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => EventReader.follow(first.url, [`stop/${i}`, "stop/all"], ["views"])),
    );
    await view(first, "stop/all");
    for (const reader of readers) await reader.untilCount("stop/all", "views", 1);
    const began = performance.now();
    expect(await first.stop()).toEqual({ status: 0, signal: null });
    expect(performance.now() - began).toBeLessThan(5_000);
    await Promise.all(readers.map((reader) => reader.ended));

    const second = await TestServer.start({ data });
    await view(second, "stop/3");
    const lastEventId = readers[3]?.events.at(-1)?.id as string;
    const again = await EventReader.follow(second.url, ["stop/3", "stop/all"], ["views"], {
      "last-event-id": lastEventId,
    });
    await again.untilCount("stop/3", "views", 1);
    await again.untilCount("stop/all", "views", 1);
    await again.close();
    await second.stop();
  });
});

test("readers who vanish are forgotten", async () => {
  await inFolder(async (folder) => {
    const server = await TestServer.start({ data: join(folder, "data") });
    for (let round = 0; round < 3; round++) {
      const urls = Array.from({ length: 40 }, (_, i) => new URL(`/v1/stream?subject=gone/${i}`, server.url));
      // Some before the answer begins.
      await Promise.all(
        urls.map(async (url, i) => {
          const abort = new AbortController();
          const answer = fetch(url, { signal: abort.signal });
          if (i % 2 === 0) await answer;
          abort.abort();
          await answer.then((answer) => answer.text()).catch(() => undefined);
        }),
      );
    }
    await eventually(async () => expect(await streamsOf(server)).toBe(0));
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
});
