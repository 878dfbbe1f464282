import { afterEach, beforeAll, expect, test } from "bun:test";
import { ClusterWorld } from "../support/cluster-world.ts";
import { expectProblem, useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { untilOneDayLasts } from "../support/one-day.ts";
import { random } from "../support/random.ts";
import { TwoNodes } from "../support/two-nodes.ts";
import { actorsNamed, distinctConfig, view } from "../support/visitors.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);

beforeAll(() => untilOneDayLasts(120_000), 150_000);
const nodes = useOpened(() => TwoNodes.start(["--config", distinctConfig()]));
const urls = () => [nodes().server(0).url, nodes().server(1).url];
let subjects = 0;
const freshPath = () => `/v1/subjects/article/visited-${++subjects}`;

interface Distinct {
  today: number;
  all: number;
}

async function distinctAt(index: number, path: string): Promise<Distinct> {
  const { status, json } = await nodes().api(index).get(`${path}/views`);
  expect(status).toBe(200);
  return json.distinct;
}

/** What both nodes say once they say the same; it must be so many. */
async function agreed(path: string, least: number, most = least): Promise<Distinct> {
  return eventually(async () => {
    const [a, b] = await Promise.all([distinctAt(0, path), distinctAt(1, path)]);
    expect(a).toEqual(b as Distinct);
    expect(a?.all).toBeWithin(least - 2, most + 3);
    return a as Distinct;
  }, 30_000);
}

afterEach(async () => {
  for (const store of ["redis", "kafka", "mysql"] as const) await nodes().ways(0)[store].heal();
  await eventually(async () => expect((await nodes().api(0).get("/readyz")).json.status).toBe("ready"));
});

test(`a node killed under visitors, again and again: whoever was answered is in the sketches of both (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  const path = freshPath();
  const sent: string[] = [];
  const answered: string[] = [];
  for (let round = 0; round < 5; round++) {
    const actors = actorsNamed(`r${round}`, 400);
    sent.push(...actors);
    const killed = Bun.sleep(10 + dice.below(150)).then(() => nodes().server(0).kill());
    answered.push(...(await view(urls(), path, actors, { connections: 16 })));
    await killed;
    await nodes().startNode(0);
  }
  const before = await agreed(path, answered.length, sent.length);
  const again = await view(urls(), path, answered);
  expect(again).toHaveLength(answered.length);
  const after = await agreed(path, before.all);
  expect(after).toEqual(before);
  console.log(`${sent.length} sent, ${answered.length} answered, ${before.all} in the sketches`);
}, 120_000);

test("MySQL is away: visitors count, what was known is told, what was not is 503, and all of it shows once it is back", async () => {
  const [known, unknown] = [freshPath(), freshPath()];
  await view(urls(), known, actorsNamed("first", 100));
  await agreed(known, 100);
  await nodes().ways(0).mysql.cut();
  await eventually(async () => expect((await nodes().api(0).get("/readyz")).json.status).toBe("degraded"));
  const here = urls().slice(0, 1);
  for (const path of [known, unknown]) expect(await view(here, path, actorsNamed("away", 60))).toHaveLength(60);
  expect((await distinctAt(0, known)).all).toBe(160);
  expectProblem(await nodes().api(0).get(`${unknown}/views`), 503, "unavailable");
  await view(urls().slice(1), known, actorsNamed("there", 10));
  await nodes().ways(0).mysql.heal();
  await agreed(known, 170);
  await agreed(unknown, 60);
}, 60_000);

test("Kafka is away: visitors wait in the spool, show where they came, and are everywhere once it is back", async () => {
  const path = freshPath();
  await nodes().ways(0).kafka.cut();
  await eventually(async () => expect((await nodes().api(0).get("/readyz")).json.parts.kafka.status).toBe("down"));
  expect(await view(urls().slice(0, 1), path, actorsNamed("spooled", 50))).toHaveLength(50);
  expect((await distinctAt(0, path)).all).toBe(50);
  expect((await distinctAt(1, path)).all).toBe(0);
  await nodes().server(0).kill();
  await nodes().startNode(0);
  expect((await distinctAt(0, path)).all).toBe(50);
  await nodes().ways(0).kafka.heal();
  await agreed(path, 50);
}, 60_000);

test("Redis is away: it has no part in it", async () => {
  const path = freshPath();
  await nodes().ways(0).redis.cut();
  await eventually(async () => expect((await nodes().api(0).get("/readyz")).json.status).toBe("degraded"));
  expect(await view(urls().slice(0, 1), path, actorsNamed("actor", 50))).toHaveLength(50);
  await eventually(async () => expect((await distinctAt(0, path)).all).toBe(50));
  await nodes().ways(0).redis.heal();
  await agreed(path, 50);
}, 60_000);

test("a node is killed and no projector runs: it shows everybody it had answered, or nobody while MySQL is away", async () => {
  await using world = await ClusterWorld.start({
    seed: SEED,
    nodes: 1,
    consumers: 1,
    args: ["--config", distinctConfig()],
  });
  const node = () => world.node(0);
  const path = freshPath();
  const erased = freshPath();
  const visit = async (to: string, actors: string[]) =>
    expect(await view([node().url], to, actors)).toHaveLength(actors.length);
  const shown = async (from: string) => {
    const { count, distinct } = await node().json<{ count: number; distinct: Distinct }>(`${from}/views`);
    return { count, ...distinct };
  };
  await visit(path, actorsNamed("stored", 3));
  await visit(erased, actorsNamed("gone", 7));
  await world.settle();
  const gone = await fetch(new URL(erased, node().url), { method: "DELETE" });
  expect(gone.status).toBe(200);
  await world.settle();
  await world.stopConsumer(0);
  await visit(path, actorsNamed("logged", 5));
  await visit(erased, actorsNamed("logged", 2));

  await world.killNode(0);
  await world.startNode(0);
  expect(await shown(path)).toEqual({ count: 8, today: 8, all: 8 });
  expect(await shown(erased)).toEqual({ count: 2, today: 2, all: 2 });

  // Their records have names of the run before, and are inherited twice.
  await world.killNode(0);
  await world.ways(0).mysql.cut();
  await world.startNode(0);
  await visit(path, actorsNamed("away", 1));
  expect((await node().get(`${path}/views`)).status).toBe(503);
  await world.ways(0).mysql.heal();
  await eventually(async () => expect((await node().get(`${path}/views`)).status).toBe(200));
  expect(await shown(path)).toEqual({ count: 9, today: 9, all: 9 });

  await world.startConsumer(0);
  await world.settle();
  expect(await shown(path)).toEqual({ count: 9, today: 9, all: 9 });
  expect(await shown(erased)).toEqual({ count: 2, today: 2, all: 2 });
}, 120_000);
