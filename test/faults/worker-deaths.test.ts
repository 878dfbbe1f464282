import { expect, test } from "bun:test";
import { Book } from "../support/book.ts";
import { eventually } from "../support/eventually.ts";
import { Load } from "../support/load.ts";
import { random } from "../support/random.ts";
import { inFolder, TestServer } from "../support/server.ts";
import { closeKeyed, verify } from "../support/verify.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const DEATHS = 100;
const WORKERS = 6;
/** In one life of a server; its workers die ever more slowly, so the next life begins anew. */
const DEATHS_OF_ONE = 25;

interface Ready {
  status: string;
  parts: { workers: { status: string; since?: string; detail?: string } };
}

test(`${DEATHS} times the death of a worker thread under load (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  const book = new Book();
  let deaths = 0;
  await inFolder(async (data) => {
    for (let life = 0; deaths < DEATHS; life++) {
      const point = ["worker.added", "worker.sent", "worker.told", "worker.claimed"][life % 4] as string;
      const times = point === "worker.claimed" ? 2 + dice.below(3) : 20 + dice.below(60);
      const fault = `${point}:${times}:exit`;
      const server = await TestServer.start({ data, fault, args: ["--workers", String(WORKERS), "--flush-ms", "50"] });
      const load = new Load({ url: server.url, book, seed: SEED + life });
      const died = () => server.lines.filter((line) => String(line.msg).includes("worker thread died")).length;
      for (let wait = 0; died() < DEATHS_OF_ONE && wait < 600; wait++) await Bun.sleep(10);
      expect(server.hasEnded).toBe(false);
      await load.stop();
      // Half of the lives are looked at as they are, the others by the next one.
      if (life % 2 === 0) await server.kill();
      else expect(await server.stop()).toEqual({ status: 0, signal: null });
      deaths += died();
      expect(server.stderr.replaceAll(`fault: ${point}\n`, "")).toBe("");
      const after = await TestServer.start({ data });
      await closeKeyed(after.url, book);
      await verify(after.url, book);
      expect(book.wrong).toEqual([]);
      expect(await after.stop()).toEqual({ status: 0, signal: null });
    }
  });
  expect(book.answers).toBeGreaterThan(1000);
  console.log(`${deaths} deaths, ${book.answers} answers, ${book.lost} lost`);
}, 240_000);

test("a worker that dies again and again is started ever later, and /readyz says so until it lives", async () => {
  await inFolder(async (data) => {
    const began = Date.now();
    // Dies at its 40th view, so it answers what is asked before.
    const server = await TestServer.start({ data, fault: "worker.added:40:exit", args: ["--workers", "2"] });
    // The address is told as soon as one of them listens.
    await eventually(async () =>
      expect(await server.json<Ready>("/readyz")).toMatchObject({
        status: "ready",
        parts: { workers: { status: "up" } },
      }),
    );
    const book = new Book();
    const load = new Load({ url: server.url, book, seed: SEED, mix: { views: 1, relations: 0, keyed: 0 } });
    const deaths = () => server.lines.filter((line) => String(line.msg).includes("worker thread died"));
    // Asked all the while: once nobody makes them die they are soon back, on a slow machine before the load has come to its end.
    let said: Ready | undefined;
    while (deaths().length < 10 || said === undefined) {
      const ready = await server.json<Ready>("/readyz").catch(() => undefined);
      if (ready?.status === "degraded") said = ready;
      await Bun.sleep(5);
    }
    await load.stop();
    expect(said).toMatchObject({ parts: { workers: { status: "down" } } });
    expect(said.parts.workers.detail).toMatch(/^[01] of 2 run, \d+ have died$/);
    const { since = "" } = said.parts.workers;
    expect(new Date(since).toISOString()).toBe(since);
    expect(Date.parse(since)).toBeGreaterThanOrEqual(began);
    const later = new Map<unknown, number>();
    for (const { worker, inMs } of deaths()) {
      expect(Number(inMs)).toBe(later.get(worker) ?? 50);
      later.set(worker, Math.min(2 * Number(inMs), 5000));
    }
    // Nobody listens while both of them wait for their start.
    await eventually(async () => expect((await server.json<Ready>("/readyz")).status).toBe("ready"));
    const metrics = await (await server.get("/metrics")).text();
    expect(Number(/^tally_worker_deaths_total (\d+)/m.exec(metrics)?.[1])).toBeGreaterThanOrEqual(10);
    await verify(server.url, book);
    expect(book.wrong).toEqual([]);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 60_000);

test("what a worker has counted that came up in the place of a dead one while the server stopped is kept", async () => {
  const lost: number[] = [];
  for (let life = 0; life < 8; life++) {
    await inFolder(async (data) => {
      const args = ["--workers", "2", "--flush-ms", "50"];
      const server = await TestServer.start({ data, fault: "worker.added:40:exit", args });
      let counted = 0;
      let hasEnded = false;
      const client = async () => {
        while (!hasEnded) {
          try {
            // On a connection of its own: it goes to whoever listens now.
            const url = new URL("/v1/subjects/article/1/views", server.url);
            const answer = await fetch(url, { method: "POST", headers: { connection: "close" } });
            await answer.text();
            if (answer.status === 200) counted++;
          } catch {
            await Bun.sleep(1);
          }
        }
      };
      const clients = Array.from({ length: 8 }, client);
      await eventually(async () =>
        expect(server.lines.map(({ msg }) => msg)).toContainEqual(expect.stringMatching("died")),
      );
      // It begins 50 ms after the death, and listens some time later.
      await Bun.sleep(45 + 10 * life);
      await server.stop();
      hasEnded = true;
      await Promise.all(clients);
      const after = await TestServer.start({ data });
      const { count } = await after.json<{ count: number }>("/v1/subjects/article/1/views");
      lost.push(counted - count);
      await after.stop();
    });
  }
  // Who died had counted and not answered.
  expect(lost.filter((views) => views > 0)).toEqual([]);
}, 60_000);
