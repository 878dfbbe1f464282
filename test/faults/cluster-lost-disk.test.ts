import { expect, test } from "bun:test";
import { freshSubject } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { runTally } from "../support/server.ts";
import { TwoNodes } from "../support/two-nodes.ts";

test("acts that only the disk of a stopped node has: verify tells them, nothing forgets them, and the disk brings them back", async () => {
  const nodes = await TwoNodes.start();
  try {
    const { path, subject } = freshSubject();
    const { flags } = nodes.ways(1);
    const verify = (...more: string[]) => runTally(["verify", ...more, ...flags]);
    const shown = (counts: Record<string, number>) =>
      eventually(async () => {
        for (const index of [0, 1]) expect((await nodes.api(index).get(path)).json.counts).toMatchObject(counts);
      }, 30_000);
    await nodes.api(1).put(`${path}/likes/kept`);
    await nodes.api(1).post(`${path}/views`);
    await eventually(async () => expect(await nodes.stored(subject, "views")).toBe(1));

    // They reach Redis, so everybody is shown what only its disk has.
    await nodes.ways(0).kafka.cut();
    for (const actor of ["one", "two"])
      expect([200, 202]).toContain((await nodes.api(0).put(`${path}/likes/${actor}`)).status);
    expect([200, 202]).toContain((await nodes.api(0).post(`${path}/views`, { json: { by: 5 } })).status);
    await shown({ likes: 3, views: 6 });
    // It says itself that it has something to send, or sends it; views are no difference either.
    expect(await verify()).toMatchObject({ status: 0 });
    await nodes.server(0).kill();
    await nodes.ways(0).kafka.heal();
    await nodes.startNode(0, "another volume");
    await shown({ likes: 3, views: 6 });

    // Its row among the nodes that have something to send goes a quarter of a minute after it.
    const found = await eventually(async () => {
      const end = await verify("--repair");
      expect(end.stdout).toContain("in no log");
      return end;
    }, 60_000);
    expect(found.status).toBe(1);
    for (const actor of ["one", "two"])
      expect(found.stdout).toContain(`likes on ${subject} of ${actor} is on its way, and in no log: start the node`);
    // Who acts on it sees it still.
    await shown({ likes: 3, views: 6 });
    expect((await nodes.api(1).delete(`${path}/likes/two`)).json).toMatchObject({ changed: true, count: 2 });

    await nodes.server(0).stop();
    await nodes.startNode(0);
    await eventually(async () => {
      for (const [metric, count] of [["likes", 2] as const, ["views", 6] as const])
        expect(await nodes.stored(subject, metric)).toBe(count);
    }, 60_000);
    await shown({ likes: 2, views: 6 });
    expect(await verify()).toMatchObject({ status: 0 });
  } finally {
    await nodes.stop();
  }
}, 180_000);
