import { expect, test } from "bun:test";
import { withSites } from "../support/archive.ts";
import { EMBEDDED } from "../support/contract.ts";
import { runTally } from "../support/server.ts";
import { sharedServices } from "../support/services.ts";
import { archive, fill } from "./archive.suite.ts";

const CLUSTER = { name: "a cluster", nodes: 1, open: sharedServices };

archive(CLUSTER);

test("from one machine into a cluster and back: the same to the byte", async () => {
  await withSites(EMBEDDED, 2, async (from, back) => {
    await fill(await from.serve());
    const text = await from.export();
    await withSites(CLUSTER, 1, async (cluster) => {
      await cluster.serve();
      const imported = await cluster.import(text);
      expect(imported.status, imported.stderr).toBe(0);
      const there = await cluster.export();
      expect(there).toBe(text);
      expect((await back.import(there)).status).toBe(0);
      expect(await back.export()).toBe(text);
    });
  });
}, 180_000);

test("without the stores' URLs the directory of a node is refused, while it runs and afterwards", async () => {
  await withSites(CLUSTER, 1, async (cluster) => {
    const server = await cluster.serve();
    const data = cluster.flags.slice(-2);
    const refused = { status: 78, stdout: "", stderr: expect.stringMatching(/^tally: .* of a cluster's node, .*\n$/) };
    const refuseAll = async () => {
      for (const command of ["serve", "verify", "export", "import", "migrate"])
        expect(await runTally([command, ...data]), command).toEqual(refused);
    };
    await refuseAll();
    await server.stop();
    await refuseAll();
    const again = await cluster.serve();
    expect((await again.get("/readyz")).status).toBe(200);
  });
}, 60_000);
