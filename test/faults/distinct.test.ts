import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { fillLog } from "../support/filler.ts";
import { untilOneDayLasts } from "../support/one-day.ts";
import { random } from "../support/random.ts";
import { inFolder, type ServerOptions, TALLY_FAULTS, TestServer } from "../support/server.ts";
import { smallDisk } from "../support/small-disk.ts";
import { actorsNamed, distinctConfig, view } from "../support/visitors.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const PATH = "/v1/subjects/article/1";
const DAY_MS = 86_400_000;
const DEATHS = ["writer.decided", "writer.appended", "writer.published", "worker.told", "projector.commit"];

interface Distinct {
  today: number;
  all: number;
}

beforeAll(() => untilOneDayLasts(60_000), 90_000);

function optionsOf(data: string): ServerOptions {
  return { data, args: ["--config", distinctConfig(), "--flush-ms", "50"] };
}

function start(data: string, options: Partial<ServerOptions> = {}): Promise<TestServer> {
  return TestServer.start({ ...optionsOf(data), ...options });
}

async function distinctOf(server: TestServer, path = PATH): Promise<Distinct> {
  return (await server.json<{ distinct: Distinct }>(`${path}/views`)).distinct;
}

test(`SIGKILL between any two steps: whoever was answered 200 is in the sketches (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  const sent: string[] = [];
  const answered: string[] = [];
  await inFolder(async (data) => {
    for (let round = 0; round < 12; round++) {
      const point = dice.pick(DEATHS);
      const fault = `${point}:${1 + dice.below(point === "projector.commit" ? 3 : 60)}`;
      // What the last one left is in the ledger before it listens: it may die of that, asked by nobody.
      const mortal = TestServer.spawn({ ...optionsOf(data), ...(round % 4 !== 3 && { fault }) });
      const listens = await mortal.listening().then(
        () => true,
        () => false,
      );
      if (!listens) {
        expect(mortal.stderr).toContain(`fault: ${point}\n`);
        continue;
      }
      const actors = actorsNamed(`r${round}`, 300);
      sent.push(...actors);
      const killed = round % 4 === 3 ? Bun.sleep(5 + dice.below(40)).then(() => mortal.kill()) : null;
      answered.push(...(await view([mortal.url], PATH, actors, { connections: 16 })));
      await (killed ?? mortal.kill());
    }
    const server = await start(data);
    const before = await distinctOf(server);
    expect(before.all).toBeWithin(answered.length - 3, sent.length + 4);
    expect(before.today).toBe(before.all);
    // They are all known already: once more changes nothing.
    expect(await view([server.url], PATH, answered)).toHaveLength(answered.length);
    expect(await distinctOf(server)).toEqual(before);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
    console.log(`${sent.length} sent, ${answered.length} answered, ${before.all} in the sketch`);
  });
}, 240_000);

test("a restart keeps today's visitors; on another day everyone counts once more, and all time goes on", async () => {
  await inFolder(async (data) => {
    let server = await start(data);
    const many = actorsNamed("many", 4_000);
    await view([server.url], PATH, many);
    const first = await distinctOf(server);
    expect(Math.abs(first.all / 4_000 - 1)).toBeLessThan(0.04);
    expect(await server.stop()).toEqual({ status: 0, signal: null });

    server = await start(data);
    expect(await distinctOf(server)).toEqual(first);
    await server.kill();

    // The clock of a test build may be wrong: tomorrow.
    server = await start(data, { binary: TALLY_FAULTS, env: { FAULT_POINT: `clock:${DAY_MS}` } });
    expect(await distinctOf(server)).toEqual({ today: 0, all: first.all });
    await view([server.url], PATH, [...many.slice(0, 100), "somebody new"]);
    const tomorrow = await distinctOf(server);
    expect(tomorrow.today).toBe(101);
    expect(tomorrow.all).toBeWithin(first.all, first.all + 3);
    await server.kill();

    server = await start(data);
    expect(await distinctOf(server)).toEqual({ today: first.today, all: tomorrow.all });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 120_000);

test("a full disk: a visitor whom it knows counts, a new one is refused and counted nowhere, and reads go on", async () => {
  const disk = await smallDisk(60);
  try {
    fillLog(join(disk.folder, "data/log"), 300_000);
    const server = await start(join(disk.inside, "data"), { via: disk.via });
    const post = async (actor: string) => {
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ actor });
      return (await fetch(new URL(`${PATH}/views`, server.url), { method: "POST", headers, body })).status;
    };
    const read = () => server.json<{ count: number; distinct: Distinct }>(`${PATH}/views`);
    expect(await post("known")).toBe(200);
    disk.fill();
    let visitors = 1;
    while ((await post(`new ${visitors}`)) === 200) visitors++;
    const { count, distinct } = await read();
    expect(count).toBe(visitors);
    expect(Math.abs(distinct.all / visitors - 1)).toBeLessThan(0.04);
    const refused = `new ${visitors}`;
    expect(await post(refused)).toBe(503);
    expect(await post("known")).toBe(200);
    expect(await read()).toMatchObject({ count: visitors + 1, distinct });

    disk.free();
    await eventually(async () => expect(await post(refused)).toBe(200));
    // One more visitor may be less than the estimate's last digit.
    for (let i = 0; i < 50; i++) expect(await post(`later ${i}`)).toBe(200);
    const after = await read();
    expect(after.count).toBe(visitors + 52);
    expect(after.distinct.all).toBeWithin(distinct.all + 25, distinct.all + 100);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  } finally {
    await TestServer.killAll();
    await disk.remove();
  }
}, 60_000);
