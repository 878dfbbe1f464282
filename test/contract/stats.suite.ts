import { describe, expect, test } from "bun:test";
import { type Api, expectProblem, freshSubject } from "../support/contract.ts";

interface Stats {
  requests: { total: number; perSecond: number; errors: { total: number } };
  routes: { route: string; total: number; status: Record<string, number>; latencyMs: Record<string, number> | null }[];
  metrics: { metric: string; kind: string; total: number; perSecond: number }[];
  streams: number;
  status: string;
  stores: Record<string, { status: string }>;
  log: { lagBytes: number; lagSeconds?: number };
}

/** `GET /v1/stats`, of each node for itself. */
export function stats(api: Api): void {
  describe("GET /v1/stats", () => {
    const statsOf = async (node: Api): Promise<Stats> => (await node.get("/v1/stats")).json;

    test("tells how the API is used, over all threads of a node", async () => {
      const node = api.node(0).alone();
      const before = await statsOf(node);
      const { path } = freshSubject();
      for (let i = 0; i < 20; i++) await node.post(`${path}/views`, { json: { by: 3 } });
      await node.put(`${path}/likes/7`);
      await node.post(`${path}/views`, { json: { by: 0 } });
      const after = await statsOf(node);
      const count = (stats: Stats, metric: string) => stats.metrics.find((it) => it.metric === metric)?.total ?? 0;
      expect(count(after, "views") - count(before, "views")).toBe(60);
      expect(count(after, "likes") - count(before, "likes")).toBe(1);
      const route = "POST /v1/subjects/:type/:id/:metric";
      const of = (stats: Stats) => stats.routes.find((it) => it.route === route);
      expect((of(after)?.total ?? 0) - (of(before)?.total ?? 0)).toBe(21);
      expect((of(after)?.status["4xx"] ?? 0) - (of(before)?.status["4xx"] ?? 0)).toBe(1);
      const { p50 = -1, p99 = -1, p999 = -1 } = of(after)?.latencyMs ?? {};
      expect(p50).toBeGreaterThan(0);
      expect(p99).toBeGreaterThanOrEqual(p50);
      expect(p999).toBeGreaterThanOrEqual(p99);
      expect(after.requests.total).toBeGreaterThan(before.requests.total);
      expect(after.requests.perSecond).toBeGreaterThan(0);
    });

    test("tells of stores, log and streams", async () => {
      const { status, stores, log, streams } = await statsOf(api);
      expect(status).toBe("ready");
      expect(stores).toEqual((await api.node(0).get("/readyz")).json.parts);
      expect(log.lagBytes).toBeGreaterThanOrEqual(0);
      expect(streams).toBeGreaterThanOrEqual(0);
    });

    test("is read as others are, and never kept", async () => {
      const reply = await api.get("/v1/stats");
      expect(reply.headers.get("cache-control")).toBe("no-store");
      expect(reply.headers.get("content-type")).toBe("application/json");
      expect((await api.send("HEAD", "/v1/stats")).status).toBe(200);
      expectProblem(await api.post("/v1/stats"), 405, "method-not-allowed");
    });
  });
}
