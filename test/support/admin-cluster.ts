import { expect } from "bun:test";
import { expected, fill, shown } from "./admin-life.ts";
import type { AdminModel } from "./admin-model.ts";
import type { ClusterWorld } from "./cluster-world.ts";
import { eventually } from "./eventually.ts";
import { runTally, type TestServer } from "./server.ts";

const SHOWN_MS_MAX = 30_000;

/** What one node shows after the flushes of the others, and once a dead projector's session has ended. */
export async function shows(server: TestServer, model: AdminModel): Promise<void> {
  await eventually(async () => expect(await shown(server)).toEqual(expected(model)), SHOWN_MS_MAX);
}

export async function verifies(world: ClusterWorld): Promise<void> {
  await world.settle();
  const { status, stdout, stderr } = await runTally(["verify", ...world.stores.flags]);
  expect([status, stdout, stderr]).toEqual([0, expect.stringContaining("0 differences"), expect.anything()]);
}

/** Everything is flushed: what one node has counted the other's erasure takes. */
export async function filled(world: ClusterWorld, node: number, model: AdminModel, round: number): Promise<void> {
  await fill(world.node(node), model, round);
  for (const each of [0, 1]) await shows(world.node(each), model);
  await world.settle();
}
