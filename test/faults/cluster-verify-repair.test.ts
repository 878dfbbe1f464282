import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { hourOf } from "../../src/arithmetic/windows.ts";
import { unseatRanker } from "../../src/cluster/mysql/check-steps.ts";
import { ChangeWriter } from "../../src/rankings/changes.ts";
import { filled, shows } from "../support/admin-cluster.ts";
import { AdminModel } from "../support/admin-model.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { runTally } from "../support/server.ts";

test("verify names what was damaged, --repair mends it, and then nothing is wrong, with servers and without", async () => {
  await using world = await ClusterWorld.start({ seed: 1 });
  const model = new AdminModel();
  await filled(world, 0, model, 0);
  const verify = async (...more: string[]) => {
    const { status, stdout } = await runTally(["verify", ...more, ...world.stores.flags]);
    return { status, lines: stdout.trim().split("\n") };
  };
  const topOf = async (node: number) => {
    const { url } = world.node(node);
    const answer = await fetch(new URL("/v1/top/article/views?window=1h", url));
    const { items } = (await answer.json()) as { items: { subject: string; count: number }[] };
    return items.find(({ subject }) => subject === "article/one")?.count;
  };
  const damage = async () => {
    const connection = await mysql.createConnection({ uri: world.stores.mysql.url });
    await connection.query("UPDATE counts SET count = 99 WHERE subject = 'article/one'");
    await connection.query("DELETE FROM counts WHERE subject = 'article/two'");
    const at = hourOf(Math.floor(Date.now() / 1000));
    const writer = new ChangeWriter();
    writer.add(1, at, "article/one", 7);
    const [frame] = writer.finish();
    await connection.query("INSERT INTO steps (at, is_hour, frame) VALUES (?, 0, ?)", [at, frame]);
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
    if (servers === "running") {
      // Whichever ranker leads next begins with what is in the ledger.
      await unseatRanker(world.stores.mysql.url);
      await eventually(async () => expect(await topOf(0)).toBe(10));
    }
    const found = await verify();
    expect(found.status).toBe(1);
    expect(found.lines).toContainEqual(expect.stringMatching(/^rankings: views on article\/one in the hour.*says 3$/));
    for (const what of ["views on article/one is 99, its rows say 3", "likes on article/two is 0"]) {
      expect(found.lines).toContainEqual(expect.stringContaining(what));
    }
    if (servers === "running") expect(found.lines).toContainEqual(expect.stringContaining("😀 is NaN"));
    const mended = await verify("--repair");
    const [, differences, repaired] = /^(\d+) differences, (\d+) mended/.exec(mended.lines.at(-1) ?? "") ?? [];
    expect([servers, mended.status, repaired]).toEqual([servers, 0, differences as string]);
    expect(await verify()).toMatchObject({ status: 0 });
    if (servers === "stopped") continue;
    for (const node of [0, 1]) {
      await shows(world.node(node), model);
      await eventually(async () => expect(await topOf(node)).toBe(3));
    }
  }
}, 120_000);
