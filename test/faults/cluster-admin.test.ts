import { expect, test } from "bun:test";
import { filled, shows, verifies } from "../support/admin-cluster.ts";
import { ask, done, JOBS, type Job } from "../support/admin-life.ts";
import { AdminModel } from "../support/admin-model.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { CLUSTER_ADMIN_POINTS } from "../support/fault-points.ts";
import { random } from "../support/random.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);

/**
 * Its first node dies at `point`, and starts as any other where that is empty. The projector is another process: the
 * group would wait for the end of a dead one's session.
 */
function mortalWorld(mortal: { readonly point: string }): Promise<ClusterWorld> {
  const env = (node: number): Record<string, string> =>
    node === 0 && mortal.point !== "" ? { FAULT_POINT: mortal.point } : {};
  return ClusterWorld.start({ seed: SEED, consumers: 1, isFaulty: true, env });
}

/** It is asked, and dies at `point`; then it starts again. */
async function diesOf(world: ClusterWorld, job: Job, { mortal, point }: { mortal: { point: string }; point: string }) {
  await world.killNode(0);
  mortal.point = point;
  await world.startNode(0);
  const node = world.node(0);
  expect(await ask(node, job)).toBeNull();
  expect(await node.ended).toMatchObject({ signal: "SIGKILL" });
  mortal.point = "";
  await world.startNode(0);
}

test(`a node that dies while it asks for it: done again it is done (SEED=${SEED})`, async () => {
  const mortal = { point: "" };
  await using world = await mortalWorld(mortal);
  const model = new AdminModel();
  let round = 0;
  for (const job of JOBS) {
    for (const point of CLUSTER_ADMIN_POINTS) {
      await filled(world, 1, model, round++);
      await diesOf(world, job, { mortal, point });
      // 202 where the machine is too slow to show it within five seconds.
      expect([200, 202]).toContain((await ask(world.node(0), job)) as number);
      done(model, job);
      for (const node of [0, 1]) await shows(world.node(node), model);
    }
  }
  await verifies(world);
}, 600_000);

test(`a node that dies once it is in its outbox: it is done by itself (SEED=${SEED})`, async () => {
  const mortal = { point: "" };
  await using world = await mortalWorld(mortal);
  const model = new AdminModel();
  for (const [round, job] of JOBS.entries()) {
    await filled(world, 1, model, round);
    await diesOf(world, job, { mortal, point: "cluster-admin.appended" });
    done(model, job);
    for (const each of [0, 1]) await shows(world.node(each), model);
  }
  await verifies(world);
}, 300_000);

test(`the projector dies, and Redis loses everything, in the midst of it (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const model = new AdminModel();
  let round = 0;
  for (const job of JOBS) {
    for (const trouble of ["projector", "redis"]) {
      await filled(world, round % 2, model, round++);
      const asked = ask(world.node(round % 2), job);
      await Bun.sleep(dice.below(300));
      if (trouble === "redis") await world.stores.redis.ask("FLUSHALL");
      else {
        await world.killConsumer(0);
        await world.startConsumer(0);
      }
      expect([200, 202]).toContain((await asked) as number);
      done(model, job);
      for (const node of [0, 1]) await shows(world.node(node), model);
    }
  }
  await verifies(world);
}, 300_000);
