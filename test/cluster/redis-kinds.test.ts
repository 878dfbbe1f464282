import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RedisHotStore } from "../../src/cluster/redis/hot-store.ts";
import { openDriver } from "../../src/cluster/redis/open-driver.ts";
import { refusalAt } from "../../src/cluster/redis/refusal.ts";
import { Api } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { TestServer } from "../support/server.ts";
import { freePort, makeAuthority, RedisServer, sharedServices } from "../support/services.ts";

const SHARD = 3;
/** Loading takes KEYS × this, in all 2 s. */
const LOAD_DELAY_US = 1_000;
const KEYS = 2_000;

test("a Redis that still loads its data is away, and is used as soon as it has loaded", async () => {
  const loading = ["--key-load-delay", String(LOAD_DELAY_US), "--loading-process-events-interval-bytes", "1024"];
  const redis = await RedisServer.start({ args: loading });
  const store = new RedisHotStore(openDriver({ redisUrl: redis.url, redisToken: null }), "t");
  try {
    await store.checkServer();
    await store.renew({ shard: SHARD, incarnation: "i", version: 1, position: 0, last: [] });
    await redis.ask("EVAL", `for i = 1, ${KEYS} do redis.call('SET', 'filler' .. i, string.rep('x', 100)) end`, 0);
    const data = await redis.snapshot();
    const reasons = new Set<string>();
    const watching = setInterval(() => reasons.add(store.state.reason), 20);
    await redis.kill();
    await redis.start({ data }); // is over once it answers
    await eventually(async () => expect(store.state.up).toBe(true));
    clearInterval(watching);
    expect([...reasons].join("; ")).toContain("Redis is loading its data");
    // What it loaded is what another run of it had noted.
    expect(await store.read([{ shard: SHARD, counts: [], registers: [] }])).toEqual(["foreign"]);
  } finally {
    await store.close();
    await redis.stop();
  }
}, 60_000);

interface TlsRedis {
  redis: RedisServer;
  url: string;
  folder: string;
  authority: string;
  stop(): Promise<void>;
}

/** A Redis behind TLS, with a certificate that only `authority` vouches for. */
async function tlsRedis(host: string): Promise<TlsRedis> {
  const folder = mkdtempSync(join(tmpdir(), "tally-tls-"));
  const { key, certificate } = await makeAuthority(folder);
  const port = await freePort();
  const tls = ["--tls-port", String(port), "--tls-cert-file", certificate, "--tls-key-file", key];
  const redis = await RedisServer.start({ args: [...tls, "--tls-auth-clients", "no"] });
  return {
    redis,
    url: `rediss://${host}:${port}`,
    folder,
    authority: certificate,
    async stop() {
      await redis.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The flags of shared services, with another Redis. */
function withRedis(flags: readonly string[], url: string): string[] {
  const at = flags.indexOf("--redis-url");
  return at < 0
    ? [...flags.filter((flag) => !flag.startsWith("--redis-url=")), "--redis-url", url]
    : flags.with(at + 1, url);
}

test.each(["localhost", "127.0.0.1"])(
  "a Redis behind TLS, at %s: used where its certificate is trusted, through a restart too",
  async (host) => {
    const [tls, services] = await Promise.all([tlsRedis(host), sharedServices()]);
    try {
      const server = await TestServer.start({
        data: join(tls.folder, "data"),
        args: [...withRedis(services.flags, tls.url), "--flush-ms", "50"],
        env: { NODE_EXTRA_CA_CERTS: tls.authority },
      });
      const api = new Api();
      api.urls = [server.url];
      await eventually(async () => expect((await api.get("/readyz")).json.status).toBe("ready"));
      expect((await api.put("/v1/subjects/article/tls/likes/7")).json).toMatchObject({ changed: true, count: 1 });
      // This process does not trust it, and must be told so.
      expect(await refusalAt(tls.url)).toMatch(/certificate/);
      await tls.redis.kill();
      await tls.redis.start();
      await eventually(async () => expect((await api.get("/readyz")).json.status).toBe("ready"));
      // Its memory is empty: until it is settled again, an act may be durable only.
      expect((await api.put("/v1/subjects/article/tls/likes/8")).status).toBeOneOf([200, 202]);
      await eventually(async () => expect((await api.get("/v1/subjects/article/tls/likes")).json.count).toBe(2));
      expect(await server.stop()).toEqual({ status: 0, signal: null });
    } finally {
      await TestServer.killAll();
      await services.stop();
      await tls.stop();
    }
  },
  60_000,
);
