import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { filled, shows } from "../support/admin-cluster.ts";
import { AdminModel } from "../support/admin-model.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { runTally } from "../support/server.ts";

test("verify names what was damaged, --repair mends it, and then nothing is wrong, with servers and without", async () => {
  await using world = await ClusterWorld.start({ seed: 1 });
  const model = new AdminModel();
  await filled(world, 0, model, 0);
  const verify = async (...more: string[]) => {
    const { status, stdout } = await runTally(["verify", ...more, ...world.stores.flags]);
    return { status, lines: stdout.trim().split("\n") };
  };
  const damage = async () => {
    const connection = await mysql.createConnection({ uri: world.stores.mysql.url });
    await connection.query("UPDATE counts SET count = 99 WHERE subject = 'article/one'");
    await connection.query("DELETE FROM counts WHERE subject = 'article/two'");
    connection.destroy();
    // None is loaded where nobody has read since the last repair.
    const [base] = (await world.stores.redis.ask("KEYS", "*:b*:1:user:*")) as string[];
    await world.stores.redis.ask("HSET", base as string, "😀", "nonsense");
  };
  for (const servers of ["running", "stopped"]) {
    if (servers === "stopped") {
      for (const node of world.nodes) await node?.stop();
      world.nodes.fill(null);
    }
    expect(await verify()).toMatchObject({ status: 0 });
    await damage();
    const found = await verify();
    expect(found.status).toBe(1);
    for (const what of ["views on article/one is 99, its rows say 3", "likes on article/two is 0"]) {
      expect(found.lines).toContainEqual(expect.stringContaining(what));
    }
    if (servers === "running") expect(found.lines).toContainEqual(expect.stringContaining("😀 is NaN"));
    const mended = await verify("--repair");
    const [, differences, repaired] = /^(\d+) differences, (\d+) mended/.exec(mended.lines.at(-1) ?? "") ?? [];
    expect([servers, mended.status, repaired]).toEqual([servers, 0, differences as string]);
    expect(await verify()).toMatchObject({ status: 0 });
    if (servers === "running") for (const node of [0, 1]) await shows(world.node(node), model);
  }
}, 120_000);
