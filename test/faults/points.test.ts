import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Book } from "../support/book.ts";
import { eventually } from "../support/eventually.ts";
import { FAULT_POINTS } from "../support/fault-points.ts";
import { fillLog } from "../support/filler.ts";
import { Load } from "../support/load.ts";
import { random } from "../support/random.ts";
import { inFolder, runTally, TALLY, TALLY_FAULTS, TestServer } from "../support/server.ts";
import { closeKeyed, verify } from "../support/verify.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const LOG_ROOM_BYTES = 400_000;
const DEATH_MS_MAX = 30_000;
const dice = random(SEED);
const reached = new Set<string>();

/** A server that dies at `fault`, under load or as it starts or stops; false where it did not. */
async function dies(data: string, fault: string, book: Book, args: string[] = []): Promise<boolean> {
  const server = TestServer.spawn({ data, args, fault });
  const died = server.ended.then(() => true);
  const listens = server.listening().then(
    () => true,
    () => false,
  );
  if (await listens) {
    const load = new Load({ url: server.url, book, seed: dice.below(1e6) });
    if (fault.startsWith("stop.")) {
      await Bun.sleep(200);
      server.signal("SIGTERM");
    }
    await Promise.race([died, Bun.sleep(DEATH_MS_MAX)]);
    await Promise.all([server.kill(), load.stop()]);
  }
  const end = await server.ended;
  const point = fault.split(":")[0] as string;
  if (!server.stderr.includes(`fault: ${point}\n`)) return false;
  reached.add(point);
  return fault.endsWith(":exit") ? end.status === 70 : end.signal === "SIGKILL";
}

/** What a crash owes to the next start: counts in the table only, and some in any case, however slow the machine is. */
async function crash(data: string, book: Book): Promise<void> {
  const server = await TestServer.start({ data, args: ["--flush-ms", "60000"] });
  const viewed = () => [...book.views.values()].reduce((sum, { acked }) => sum + acked, 0);
  const before = viewed();
  const load = new Load({ url: server.url, book, seed: dice.below(1e6) });
  await Bun.sleep(150);
  await eventually(async () => expect(viewed()).toBeGreaterThan(before + 50));
  await Promise.all([server.kill(), load.stop()]);
}

async function comesBack(data: string, book: Book): Promise<void> {
  const server = await TestServer.start({ data });
  await closeKeyed(server.url, book);
  await verify(server.url, book);
  expect(book.wrong).toEqual([]);
  expect(await server.stop()).toEqual({ status: 0, signal: null });
}

describe(`a process that dies (SEED=${SEED})`, () => {
  test.each(FAULT_POINTS.filter((point) => !point.startsWith("log.")))(
    "at %s loses nothing and counts nothing twice",
    async (point) => {
      await inFolder(async (data) => {
        const book = new Book();
        for (const most of [1, 12]) {
          await crash(data, book);
          const isOnce = /^(start|stop|recovery|table)\./.test(point);
          const times = isOnce ? 1 : 1 + dice.below(most);
          expect(await dies(data, `${point}:${times}`, book, ["--flush-ms", "40"])).toBe(true);
          await comesBack(data, book);
        }
        expect(book.answers).toBeGreaterThan(50);
      });
    },
    120_000,
  );

  test.each(FAULT_POINTS.filter((point) => point.startsWith("log.")))(
    "at %s loses nothing: in a frame, and where the log goes on in a new file",
    async (point) => {
      await inFolder(async (data) => {
        fillLog(join(data, "log"), LOG_ROOM_BYTES);
        const book = new Book();
        const isFrame = /frame|written|synced/.test(point);
        expect(await dies(data, `${point}:${isFrame ? 1 + dice.below(200) : 1}`, book, ["--flush-ms", "20"])).toBe(
          true,
        );
        await comesBack(data, book);
        await crash(data, book);
        await comesBack(data, book);
      });
    },
    120_000,
  );

  test("between a new file of the log and its first frame starts again, though the ledger has all before it", async () => {
    await inFolder(async (data) => {
      fillLog(join(data, "log"), 0);
      const server = TestServer.spawn({ data, fault: "log.renamed" });
      await server.listening();
      const isApplied = async () => {
        const text = await (await server.get("/metrics")).text();
        const [head, applied] = ["head", "applied"].map(
          (name) => new RegExp(`^tally_log_${name} (.*)$`, "m").exec(text)?.[1],
        );
        return head === applied;
      };
      let likes = 0;
      const like = () => fetch(new URL(`/v1/subjects/article/1/likes/${likes}`, server.url), { method: "PUT" });
      while ((await like().catch(() => null))?.ok) {
        likes++;
        while (!(await isApplied())) await Bun.sleep(20);
      }
      expect(await server.ended).toMatchObject({ signal: "SIGKILL" });
      const after = await TestServer.start({ data });
      expect(await after.json("/v1/subjects/article/1/likes")).toMatchObject({ count: likes });
      expect(await after.stop()).toEqual({ status: 0, signal: null });
    });
  }, 60_000);

  test.each(["log.filled", "log.spare", "log.renamed", "table.created", "table.renamed", "start.recovered"])(
    "at %s of its very first start starts the next time",
    async (point) => {
      await inFolder(async (data) => {
        const book = new Book();
        expect(await dies(data, point, book)).toBe(true);
        await crash(data, book);
        await comesBack(data, book);
      });
    },
    60_000,
  );

  test("again and again while it recovers owes the same as before", async () => {
    await inFolder(async (data) => {
      const book = new Book();
      await crash(data, book);
      const points = ["recovery.append", "recovery.appended", "start.recovered", "start.caught-up", "table.created"];
      expect(await dies(data, "recovery.append", book)).toBe(true);
      expect(await dies(data, "recovery.appended", book)).toBe(true);
      for (const point of [...points.slice(2), ...points.slice(2).reverse()]) {
        expect(await dies(data, point, book)).toBe(true);
      }
      await comesBack(data, book);
    });
  }, 60_000);

  test.each(["writer.appended:5:exit", "writer.counted:9:exit", "projector.commit:2:exit"])(
    "because the thread of its store ended (%s) says so and starts again",
    async (fault) => {
      await inFolder(async (data) => {
        const book = new Book();
        expect(await dies(data, fault, book)).toBe(true);
        await comesBack(data, book);
      });
    },
    60_000,
  );
});

test("the released executable has no fault points", async () => {
  const holds = (binary: string, text: string) => readFileSync(binary).includes(text);
  for (const text of ["FAULT_POINT", `fault: ${"$"}{point}`]) {
    expect([text, holds(TALLY, text), holds(TALLY_FAULTS, text)]).toEqual([text, false, true]);
  }
  const { status, stdout } = await runTally(["version"], { env: { FAULT_POINT: "start.recovered" } });
  expect([status, stdout]).toEqual([0, expect.stringMatching(/\d+\.\d+\.\d+/)]);
  await inFolder(async (data) => {
    const server = await TestServer.start({ data, env: { FAULT_POINT: "start.recovered" } });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 30_000);

test("each point of the source was reached", () => {
  expect([...reached].sort()).toEqual([...FAULT_POINTS]);
});
