import { describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DataLock } from "../../src/local/lock.ts";
import { Book } from "../support/book.ts";
import { Connection } from "../support/connection.ts";
import { eventually } from "../support/eventually.ts";
import { Load } from "../support/load.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";
import { closeKeyed, verify } from "../support/verify.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const ENDED_WELL = { status: 0, signal: null };
/** So that an answer says that what came before it, on whatever connection, has been read. */
const ONE_WORKER = ["--workers", "1"];

describe("one server for a data directory", () => {
  test("the second refuses to start and says why; when the first is killed it starts at once", async () => {
    await inFolder(async (data) => {
      const first = await TestServer.start({ data });
      const second = await runTally(["serve", "--data", data, "--port", "0", "--grpc-port", "0"]);
      expect(second).toMatchObject({ status: 78, stdout: "" });
      expect(second.stderr).toMatch(/^tally: another server uses the data directory .*\n$/);
      expect(second.stderr).toContain(data);
      expect(second.stderr).toContain(`process ${first.pid}`);
      // It left the first one alone.
      expect((await first.get("/readyz")).status).toBe(200);
      await first.kill();
      const third = await TestServer.start({ data });
      expect(await third.stop()).toEqual(ENDED_WELL);
    });
  }, 30_000);

  test("the commands beside a server that only just starts, or on what is no data directory, end in a line", async () => {
    await inFolder(async (data) => {
      writeFileSync(join(data, "input.ndjson"), '{"metric":"views","subject":"article/1"}\n');
      const said = async () => {
        const commands = [["verify"], ["export"], ["import", join(data, "input.ndjson")]];
        return Promise.all(commands.map((command) => runTally([...command, "--data", data])));
      };
      const lock = DataLock.takeOrRefuse(data);
      for (const end of await said())
        expect(end).toEqual({
          status: 69,
          stdout: "",
          stderr: expect.stringMatching(/^tally: the server cannot be .*\n$/),
        });
      lock.release();
      rmSync(join(data, "lock"));
      mkdirSync(join(data, "lock"));
      for (const end of await said())
        expect(end).toEqual({
          status: 78,
          stdout: "",
          stderr: expect.stringMatching(/^tally: the data directory .*\n$/),
        });
    });
  }, 30_000);

  test("ten that start at once: one runs, nine refuse", async () => {
    await inFolder(async (data) => {
      const servers = Array.from({ length: 10 }, () => TestServer.spawn({ data }));
      const listening = await Promise.allSettled(servers.map((server) => server.listening()));
      const winners = servers.filter((_, i) => listening[i]?.status === "fulfilled");
      expect(winners).toHaveLength(1);
      for (const server of servers) {
        if (server === winners[0]) expect(await server.stop()).toEqual(ENDED_WELL);
        else expect(await server.ended).toEqual({ status: 78, signal: null });
      }
    });
  }, 60_000);
});

/** Nobody listens there: what needs the stores would wait. */
/** What was sent to its one thread before. The second answer: the first may be of the same look at all connections. */
async function untilRead(server: TestServer): Promise<void> {
  for (let asked = 0; asked < 2; asked++) await server.json("/v1/subjects/article/1");
}

describe("SIGTERM", () => {
  test.each(["SIGTERM", "SIGINT"] as const)(
    `under load (%s): what is under way is answered, all is kept, exit 0 (SEED=${SEED})`,
    async (signal) => {
      await inFolder(async (data) => {
        const book = new Book();
        const server = await TestServer.start({ data, args: ["--flush-ms", "60000"] });
        const load = new Load({ url: server.url, book, seed: SEED });
        await Bun.sleep(300);
        const began = performance.now();
        server.signal(signal);
        expect(await server.ended).toEqual(ENDED_WELL);
        expect(performance.now() - began).toBeLessThan(10_000);
        await load.stop();
        const after = await TestServer.start({ data });
        // Nothing had to be recovered: it was all flushed.
        expect(after.lines.filter((line) => String(line.msg).includes("recovered"))).toEqual([]);
        await closeKeyed(after.url, book);
        await verify(after.url, book);
        expect(book.wrong).toEqual([]);
        expect(await after.stop()).toEqual(ENDED_WELL);
      });
    },
    30_000,
  );

  test("says that it is draining to whoever still asks", async () => {
    await inFolder(async (data) => {
      const server = await TestServer.start({ data, args: ONE_WORKER });
      const { hostname, port } = new URL(server.url);
      let answers = "";
      const { promise: closed, resolve: close } = Promise.withResolvers<void>();
      const socket = await Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          data(_socket, bytes) {
            answers += bytes.toString();
          },
          close: () => close(),
        },
      });
      // Begun before, so that its connection is one on which something is under way.
      const head = "HTTP/1.1\r\nhost: 127.0.0.1\r\n";
      socket.write(`GET /readyz ${head}`);
      await untilRead(server);
      server.signal("SIGTERM");
      await eventually(async () => expect(server.lines.map(({ msg }) => msg)).toContain("stopping"));
      await Bun.sleep(300);
      socket.write("\r\n");
      await closed;
      expect(answers).toStartWith("HTTP/1.1 503 ");
      expect(answers).toContain('"status":"draining"');
      expect(await server.ended).toEqual(ENDED_WELL);
    });
  }, 30_000);

  test("answers the request whose body is still coming, and then closes; an idle connection does not hold it up", async () => {
    await inFolder(async (data) => {
      const server = await TestServer.start({ data, args: ONE_WORKER });
      const idle = await Connection.open(server.url);
      expect((await idle.send("POST", "/v1/subjects/article/1/views")).status).toBe(200);
      const { hostname, port } = new URL(server.url);
      let answer = "";
      let closed: () => void = () => undefined;
      const isClosed = new Promise<void>((resolve) => {
        closed = resolve;
      });
      const slow = await Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          data(_socket, bytes) {
            answer += bytes.toString();
          },
          close: () => closed(),
        },
      });
      const head =
        "POST /v1/subjects/article/1/views HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
      slow.write(`${head}content-length: 8\r\n\r\n{"by"`);
      await untilRead(server);
      const began = performance.now();
      server.signal("SIGTERM");
      await Bun.sleep(300);
      slow.write(":5}");
      await isClosed;
      expect(answer).toStartWith("HTTP/1.1 200 ");
      expect(answer).toEndWith('{"count":6}');
      expect(await server.ended).toEqual(ENDED_WELL);
      expect(performance.now() - began).toBeLessThan(10_000);
      const after = await TestServer.start({ data });
      expect(await after.json("/v1/subjects/article/1/views")).toMatchObject({ count: 6 });
      await after.stop();
    });
  }, 30_000);

  test("a request that never ends does not hold it up for longer than 10 s; a second signal ends it at once", async () => {
    await inFolder(async (data) => {
      const hang = async (server: TestServer) => {
        const { hostname, port } = new URL(server.url);
        const socket = await Bun.connect({ hostname, port: Number(port), socket: { data: () => undefined } });
        socket.write("POST /v1/subjects/article/1/views HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 8\r\n\r\n{");
        await untilRead(server);
      };
      const server = await TestServer.start({ data, args: ONE_WORKER });
      await (await Connection.open(server.url)).send("POST", "/v1/subjects/article/1/views");
      await hang(server);
      let began = performance.now();
      server.signal("SIGTERM");
      expect(await server.ended).toEqual(ENDED_WELL);
      expect(performance.now() - began).toBeLessThan(10_000);

      const again = await TestServer.start({ data, args: ONE_WORKER });
      expect(await again.json("/v1/subjects/article/1/views")).toMatchObject({ count: 1 });
      await (await Connection.open(again.url)).send("POST", "/v1/subjects/article/1/views");
      await hang(again);
      began = performance.now();
      again.signal("SIGTERM");
      await Bun.sleep(200);
      again.signal("SIGTERM");
      expect((await again.ended).status).toBe(143);
      // Not after the five seconds that requests under way are given.
      expect(performance.now() - began).toBeLessThan(4_000);
      const after = await TestServer.start({ data });
      expect(await after.json("/v1/subjects/article/1/views")).toMatchObject({ count: 2 });
      expect(await after.stop()).toEqual(ENDED_WELL);
    });
  }, 60_000);
});

test("a start in which nothing goes wrong calls no part down, from its first answer on", async () => {
  await inFolder(async (data) => {
    const before = await TestServer.start({ data, args: ONE_WORKER });
    const { port } = new URL(before.url);
    await before.stop();
    const server = TestServer.spawn({ data, port: Number(port), args: ["--workers", "6"] });
    server.url = before.url;
    const listening = server.listening().then(() => true);
    const said = new Map<string, unknown>();
    for (let isUp = false; !isUp; ) {
      isUp = await Promise.race([listening, Bun.sleep(1).then(() => false)]);
      const answer = await server.get("/readyz").catch(() => null);
      if (answer !== null) said.set(await answer.text(), answer.status);
    }
    for (const [text, status] of said) {
      expect([status, JSON.parse(text)]).toMatchObject([
        200,
        { status: "ready", parts: { workers: { status: "up" } } },
      ]);
    }
    // It was asked while they came up.
    expect([...said.keys()].join()).toContain("of 6 have started");
    expect(await server.stop()).toEqual(ENDED_WELL);
  });
}, 30_000);

test("a port that is taken: exit 78 and one line that names it", async () => {
  const other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("") });
  await inFolder(async (data) => {
    const { status, stderr } = await runTally([
      "serve",
      "--data",
      data,
      "--port",
      String(other.port),
      "--grpc-port",
      "0",
    ]);
    expect([status, stderr]).toEqual([78, expect.stringMatching(/^tally: port \d+ of 127\.0\.0\.1 is taken.*\n$/)]);
    expect(stderr).toContain(String(other.port));
  });
  await other.stop(true);
}, 30_000);

test.each(["serve", "consume"])(
  "%s on a name that leads nowhere: exit 78 and one line that says so",
  async (command) => {
    await inFolder(async (data) => {
      for (const port of ["0", "18055"]) {
        const args = [command, "--open", "--host", "nope.invalid", "--port", port, "--grpc-port", "0", "--data", data];
        const { status, stdout, stderr } = await runTally(args);
        const says = /^tally: wrong setting: --host = nope\.invalid: must be an address of this machine.*\n$/;
        expect({ port, status, stdout, stderr }).toEqual({
          port,
          status: 78,
          stdout: "",
          stderr: expect.stringMatching(says),
        });
      }
      const none = await runTally([
        command,
        "--open",
        "--host",
        "1.2.3.4",
        "--port",
        "0",
        "--grpc-port",
        "0",
        "--data",
        data,
      ]);
      expect(none).toMatchObject({ status: 78, stdout: "", stderr: expect.stringContaining("is no address of this") });
    });
  },
  30_000,
);

test("the port of another Tally is taken too, though its threads share it", async () => {
  await inFolder(async (data) => {
    const server = await TestServer.start({ data: join(data, "one") });
    const { port } = new URL(server.url);
    const second = await runTally(["serve", "--data", join(data, "two"), "--port", port, "--grpc-port", "0"]);
    expect([second.status, second.stderr]).toEqual([78, expect.stringContaining(`port ${port} of 127.0.0.1 is taken`)]);
    expect(await server.stop()).toEqual(ENDED_WELL);
    const after = await TestServer.start({ data: join(data, "two"), args: ["--port", port] });
    expect(new URL(after.url).port).toBe(port);
    expect(await after.stop()).toEqual(ENDED_WELL);
  });
}, 30_000);

test("SIGHUP reads tally.yaml again: a new metric counts on every thread, a wrong file changes nothing", async () => {
  await inFolder(async (data) => {
    const config = join(data, "tally.yaml");
    const metrics = (more: string) => writeFileSync(config, `metrics:\n  views: {kind: tally}\n${more}`);
    metrics("");
    const server = await TestServer.start({ data: join(data, "data"), args: ["--config", config, "--workers", "4"] });
    const said = (text: string) => server.lines.filter((line) => String(line.msg).includes(text)).length;
    expect((await fetch(`${server.url}v1/subjects/a/1/claps`, { method: "POST" })).status).toBe(404);
    metrics("  claps: {kind: tally}\n  saves: {kind: relation}\n  visits: {kind: tally, unique: 1h}\n");
    server.signal("SIGHUP");
    while (said("settings read again") < 1) await Bun.sleep(5);
    // Each connection lands on one of the threads; 40 of them on all.
    let count = 0;
    for (let i = 0; i < 40; i++) {
      const connection = await Connection.open(server.url);
      const path = "/v1/subjects/a/1";
      expect(JSON.parse((await connection.send("POST", `${path}/claps`)).body)).toEqual({ count: ++count });
      expect(JSON.parse((await connection.send("PUT", `${path}/saves/${i}`)).body)).toMatchObject({
        changed: true,
        count,
      });
      const visit = JSON.parse((await connection.send("POST", `${path}/visits`)).body);
      expect(visit).toEqual(count === 1 ? { count: 1 } : { count: 1, counted: false });
      connection.close();
    }
    metrics("  views: [\n");
    server.signal("SIGHUP");
    while (said("the new settings are wrong") < 1) await Bun.sleep(5);
    metrics("  claps: {kind: relation}\n");
    server.signal("SIGHUP");
    while (said("these settings need a restart") < 1) await Bun.sleep(5);
    expect(await server.json("/v1/subjects/a/1")).toMatchObject({ counts: { claps: 40, saves: 40, visits: 1 } });
    expect(await server.stop()).toEqual(ENDED_WELL);
    // With a kind that contradicts what is stored it does not start either.
    const { status, stderr } = await runTally([
      "serve",
      "--data",
      join(data, "data"),
      "--config",
      config,
      "--port",
      "0",
    ]);
    expect([status, stderr]).toEqual([78, expect.stringContaining("claps")]);
  });
}, 30_000);

test("SIGHUP while tally.yaml is gone: an error that names it, and all stays as it was until it is back", async () => {
  await inFolder(async (folder) => {
    const config = join(folder, "tally.yaml");
    const text = "metrics: {views: tally}\ncorsOrigins: https://a.b\n";
    // Found in the working directory, or named.
    for (const args of [[], ["--config", config]]) {
      writeFileSync(config, text);
      const server = await TestServer.start({ data: join(folder, "data"), cwd: folder, args });
      const said = (level: string, text: string) =>
        server.lines.filter((line) => line.level === level && JSON.stringify(line).includes(text)).length;
      const allowed = async () => {
        const answer = await fetch(`${server.url}v1/subjects/a/1`, { headers: { origin: "https://a.b" } });
        const { counts } = (await answer.json()) as { counts: object };
        return [answer.headers.get("access-control-allow-origin"), Object.keys(counts)];
      };
      rmSync(config);
      server.signal("SIGHUP");
      await eventually(async () => expect(said("error", "tally.yaml cannot be read: there is none")).toBe(1));
      expect(await allowed()).toEqual(["https://a.b", ["views"]]);
      writeFileSync(config, `${text}logLevel: debug\n`);
      server.signal("SIGHUP");
      await eventually(async () => expect(said("info", "logLevel")).toBe(1));
      // Of a thread that began long before.
      await fetch(`${server.url}v1/subjects/a/1/views`, { method: "POST" });
      await eventually(async () => expect(said("debug", "batch applied")).toBeGreaterThan(0));
      expect(await allowed()).toEqual(["https://a.b", ["views"]]);
      expect(await server.stop()).toEqual(ENDED_WELL);
    }
  });
}, 30_000);
