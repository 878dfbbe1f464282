import { expect, test } from "bun:test";
import { join } from "node:path";
import { $ } from "bun";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";

/** Long enough that what was counted just now is in the table only while its directory is copied. */
const FLUSH_MS = 3_000;
const VIEWS = "/v1/subjects/article/1/views";

test("a copied data directory counts nothing twice, whether its server runs on or was killed", async () => {
  await using world = await ClusterWorld.start({ seed: 1, args: ["--flush-ms", String(FLUSH_MS)] });
  const copy = async () => {
    const [from, to] = ["node-0", "node-1"].map((name) => join(world.folder, name));
    // Their counters' file is a gigabyte of holes.
    await $`rm -r ${to} && cp -r --sparse=always ${from} ${to}`;
  };
  const view = async (by: number) => {
    const init = { method: "POST", body: JSON.stringify({ by }), headers: { "content-type": "application/json" } };
    expect((await fetch(new URL(VIEWS, world.node(0).url), init)).status).toBe(200);
  };
  const shown = (count: number) =>
    eventually(
      async () => {
        for (const node of [0, 1]) expect(await world.node(node).json(VIEWS)).toMatchObject({ count });
      },
      2 * FLUSH_MS + 5_000,
    );
  const settled = async (count: number) => {
    await shown(count);
    await Bun.sleep(FLUSH_MS + 500);
    await world.settle();
    await shown(count);
  };
  await world.killNode(1);
  await view(7);
  await copy();
  await world.startNode(1);
  expect(world.node(1).lines.map(({ msg }) => msg)).toContainEqual(expect.stringContaining("is a copy of another"));
  await settled(7);

  await view(5);
  for (const node of [0, 1]) await world.killNode(node);
  await copy();
  for (const node of [0, 1]) await world.startNode(node);
  await settled(12);
  expect(await world.verify()).toEqual([]);
}, 120_000);
