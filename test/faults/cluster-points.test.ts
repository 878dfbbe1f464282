import { expect, test } from "bun:test";
import { ClusterWorld } from "../support/cluster-world.ts";
import { CLUSTER_POINTS } from "../support/fault-points.ts";
import { random } from "../support/random.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const DEATH_MS_MAX = 30_000;

test(`a node that dies between any two steps loses nothing and counts nothing twice (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  let point = "";
  await using world = await ClusterWorld.start({
    seed: SEED,
    isFaulty: true,
    // Not the first time: a projector may come by before the node listens.
    env: (node): Record<string, string> =>
      node === 0 && point !== "" ? { FAULT_POINT: `${point}:${3 + dice.below(6)}` } : {},
  });
  const { book } = world;
  await world.startLoad();
  const missed: unknown[][] = [];
  for (point of CLUSTER_POINTS) {
    await world.killNode(0);
    // On a slow machine it may come by so often, for what the others counted meanwhile: a death like the others.
    await world.startNode(0).catch(() => undefined);
    const node = world.node(0);
    await Promise.race([node.ended, Bun.sleep(DEATH_MS_MAX)]);
    if (!node.stderr.includes(`fault: ${point}\n`)) missed.push([point, ...node.lines.slice(-5)]);
    world.nodes[0] = null;
    await node.kill();
    point = "";
    await world.startNode(0);
    expect(book.wrong).toEqual([]);
  }
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  expect(missed).toEqual([]);
}, 600_000);
