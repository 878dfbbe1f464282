import { expect, test } from "bun:test";
import { withSites } from "../support/archive.ts";
import { type Deployment, EMBEDDED } from "../support/contract.ts";
import { runTally } from "../support/server.ts";
import { sharedServices } from "../support/services.ts";
import { archive, fill } from "./archive.suite.ts";

/** Exports wait for two flushes, and imports for one. */
const FLUSH_MS = 400;

const CLUSTER: Deployment = {
  name: "a cluster",
  nodes: 1,
  open: async () => {
    const services = await sharedServices();
    return { ...services, flags: [...services.flags, "--flush-ms", String(FLUSH_MS)] };
  },
};

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

test("import and export need nothing but the stores: no server runs, and none ever has", async () => {
  await withSites(CLUSTER, 1, async (cluster) => {
    const at = "2026-11-20T12:00:00Z";
    const events = [
      { metric: "views", subject: "article/a", by: 3, at },
      { metric: "likes", subject: "article/a", actor: "7", active: true, at },
    ];
    const imported = await cluster.import(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    expect(imported).toMatchObject({ status: 0, stdout: "1 tallies and 1 relations\n" });
    // A server that leaves the log to others, and stops: what came last is in the log alone.
    const server = await cluster.serve(undefined, "--no-consumer");
    const path = `${server.url}v1/subjects/article/a`;
    expect((await fetch(`${path}/views`, { method: "POST" })).status).toBe(200);
    expect((await fetch(`${path}/likes/8`, { method: "PUT" })).status).toBe(200);
    await server.stop();
    const lines = (await cluster.export()).trim().split("\n");
    expect(lines).toContainEqual(expect.stringContaining('{"metric":"views","subject":"article/a","count":4'));
    expect(lines.filter((line) => line.includes('"metric":"likes"') && line.includes('"actor":'))).toHaveLength(2);
    expect(await cluster.verify()).toBe("");
  });
}, 60_000);
