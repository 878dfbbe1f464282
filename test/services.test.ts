import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis as Upstash } from "@upstash/redis";
import { RedisClient } from "bun";
import { Cluster as ClusterClient } from "ioredis";
import { Kafka, logLevel } from "kafkajs";
import mysql from "mysql2/promise";
import { isFree } from "../scripts/services/ports.ts";
import { SHARED } from "../scripts/services/shared.ts";
import {
  type Cluster,
  RedisCluster,
  RedisServer,
  sharedServices,
  startCluster,
  UpstashServer,
} from "./support/services.ts";

/** A start on a machine that does much else. */
const START_MS_MAX = 60_000;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ nodes: 1 });
}, START_MS_MAX);
afterAll(() => cluster.stop());

async function redis<T>(url: string, work: (client: RedisClient) => Promise<T>): Promise<T> {
  const client = new RedisClient(url, { autoReconnect: false });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

async function sql(url: string, statement: string): Promise<unknown> {
  const connection = await mysql.createConnection({ uri: url, connectTimeout: 5_000 });
  try {
    return (await connection.query(statement))[0];
  } finally {
    connection.destroy();
  }
}

/** Makes a topic if it is not there, and sends one message; returns the message's offset. */
async function sendOne(broker: string, topic: string): Promise<string | undefined> {
  const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING });
  const [admin, producer] = [kafka.admin(), kafka.producer()];
  try {
    await Promise.all([admin.connect(), producer.connect()]);
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
    const [sent] = await producer.send({ topic, messages: [{ key: "k", value: "v" }] });
    return sent?.baseOffset;
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()]);
  }
}

describe("Redis", () => {
  test("answers, and evicts nothing", async () => {
    const policy = await redis(cluster.redis.url, (client) => client.send("CONFIG", ["GET", "maxmemory-policy"]));
    expect(Object.values(policy).concat(Object.keys(policy))).toContain("noeviction");
  });

  test("stands still while paused and answers the same connection later", async () => {
    await redis(cluster.redis.url, async (client) => {
      await client.set("a", "1");
      await cluster.redis.pause();
      const answer = client.get("a").then((value) => ({ value, state: cluster.redis.state }));
      expect(await Promise.race([answer, Bun.sleep(100)])).toBeUndefined();
      await cluster.redis.resume();
      expect(await answer).toEqual({ value: "1", state: "running" });
    });
  });

  test("comes back on its port with nothing, with an older copy, or with all of its AOF", async () => {
    await using server = await RedisServer.start();
    const url = server.url;
    const read = () => redis(url, (client) => client.get("a"));
    await redis(url, (client) => client.set("a", "old"));
    const old = await server.snapshot();
    await redis(url, (client) => client.set("a", "new"));
    await server.kill();
    await server.start({ data: "empty" });
    expect(await read()).toBeNull();
    await server.restart({ data: old });
    expect(await read()).toBe("old");

    await using durable = await RedisServer.start({ aof: "always" });
    await redis(durable.url, (client) => client.set("a", "kept"));
    await durable.kill();
    await durable.start();
    expect(await redis(durable.url, (client) => client.get("a"))).toBe("kept");
  });
});

describe("MariaDB", () => {
  test("answers, is strict and durable, and has a database for each caller", async () => {
    const url = await cluster.mysql.createDatabase();
    expect(url).not.toBe(cluster.mysql.url);
    await sql(url, "CREATE TABLE t (a TINYINT)");
    await expect(sql(url, "INSERT INTO t VALUES (1000)")).rejects.toThrow("Out of range");
    expect(await sql(cluster.mysql.url, "SHOW TABLES")).toEqual([]);
    expect(await sql(url, "SELECT @@innodb_flush_log_at_trx_commit AS flush, @@time_zone AS zone")).toEqual([
      { flush: 1, zone: "+00:00" },
    ]);
  });

  test("keeps what it has committed when it is killed, and its database", async () => {
    const { url } = cluster.mysql;
    await sql(url, "CREATE TABLE kept (a INT)");
    await sql(url, "INSERT INTO kept VALUES (7)");
    await cluster.mysql.kill();
    await expect(sql(url, "SELECT 1")).rejects.toThrow();
    await cluster.mysql.start();
    expect(cluster.mysql.url).toBe(url);
    expect(await sql(url, "SELECT a FROM kept")).toEqual([{ a: 7 }]);
    await cluster.mysql.pause();
    const late = sql(url, "SELECT a FROM kept");
    expect(await Promise.race([late, Bun.sleep(100)])).toBeUndefined();
    await cluster.mysql.resume();
    expect(await late).toEqual([{ a: 7 }]);
  });
});

describe("Kafka", () => {
  test(
    "keeps its messages when it is killed, and loses them when told to",
    async () => {
      const { brokers } = cluster.kafka;
      expect(await sendOne(brokers, "kept")).toBe("0");
      await cluster.kafka.pause();
      const late = sendOne(brokers, "kept");
      expect(await Promise.race([late, Bun.sleep(100)])).toBeUndefined();
      await cluster.kafka.resume();
      expect(await late).toBe("1");
      await cluster.kafka.kill();
      await cluster.kafka.start();
      expect(await sendOne(brokers, "kept")).toBe("2");
      await cluster.kafka.restart({ data: "empty" });
      expect(await sendOne(brokers, "kept")).toBe("0");
    },
    START_MS_MAX,
  );

  test("leads clients that come through a proxy back to the proxy", async () => {
    const [way] = cluster.ways;
    if (!way) throw new Error("there is no way");
    expect(await sendOne(way.kafka.address, "proxied")).toBe("0");
    const admin = new Kafka({ brokers: [way.kafka.address], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    await admin.disconnect();
    expect(brokers.map(({ host, port }) => `${host}:${port}`)).toEqual([way.kafka.address]);
  });
});

describe("a proxy", () => {
  const through = () => {
    const [way] = cluster.ways;
    if (!way) throw new Error("there is no way");
    return { proxy: way.redis, url: way.redis.via(cluster.redis.url) };
  };

  test("cuts and heals", async () => {
    const { proxy, url } = through();
    await redis(url, async (client) => {
      expect(await client.set("cut", "1")).toBe("OK");
      await proxy.cut();
      expect(proxy.connections).toBe(0);
      await expect(client.get("cut")).rejects.toThrow();
    });
    await expect(redis(url, (client) => client.get("cut"))).rejects.toThrow();
    await proxy.heal();
    expect(await redis(url, (client) => client.get("cut"))).toBe("1");
  });

  test("hangs, for connections old and new, and delivers what waited", async () => {
    const { proxy, url } = through();
    await redis(url, async (client) => {
      await client.set("hung", "0");
      await proxy.hang();
      const answers = [client.incr("hung"), redis(url, (other) => other.get("never"))];
      expect(await Promise.race([...answers, Bun.sleep(150)])).toBeUndefined();
      expect(await cluster.redis.ask("GET", "hung")).toBe("0");
      await proxy.heal();
      expect(await Promise.all(answers)).toEqual([1, null]);
    });
  });

  test("loses answers to what was done", async () => {
    const { proxy, url } = through();
    await redis(url, async (client) => {
      await client.set("mute", "0");
      await proxy.mute();
      const answer = client.incr("mute");
      while ((await cluster.redis.ask("GET", "mute")) !== "1") await Bun.sleep(5);
      await proxy.heal();
      await expect(answer).rejects.toThrow();
    });
    expect(await redis(url, (client) => client.get("mute"))).toBe("1");
  });

  test("slows down, keeps the order and every byte", async () => {
    const { proxy, url } = through();
    const big = "0123456789".repeat(300_000);
    await proxy.delay(100);
    await redis(url, async (client) => {
      await client.ping();
      const startedAt = performance.now();
      const answers = [client.set("slow", big), client.append("slow", "x"), client.get("slow")];
      const [, length, value] = await Promise.all(answers);
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(195);
      expect(length).toBe(big.length + 1);
      expect(value === `${big}x`).toBe(true);
    });
    await proxy.heal();
  });
});

describe("a Redis Cluster", () => {
  test(
    "serves all slots, and a replica takes over for a master that was killed",
    async () => {
      await using servers = await RedisCluster.start();
      const [first] = servers.masters;
      const client = new ClusterClient([{ host: "127.0.0.1", port: first?.port }]);
      client.on("error", () => {});
      try {
        for (let i = 0; i < 50; i++) await client.set(`key${i}`, i);
        const sizes = await Promise.all(servers.masters.map((node) => node.ask("DBSIZE")));
        expect(sizes.every((size) => Number(size) > 0)).toBe(true);
        expect(sizes.reduce<number>((sum, size) => sum + Number(size), 0)).toBe(50);

        const master = await servers.masterOf("key0");
        await client.wait(1, 5_000);
        await master.kill();
        await servers.healthy();
        const heir = await servers.masterOf("key0");
        expect(servers.replicas).toContain(heir);
        await master.start();
        await servers.healthy();
      } finally {
        client.disconnect();
      }
    },
    START_MS_MAX,
  );
});

describe("Upstash's API", () => {
  test("answers for the Redis behind it, and comes back", async () => {
    await using server = await UpstashServer.start(cluster.redis);
    const client = new Upstash({
      url: server.url,
      token: server.token,
      responseEncoding: false,
      retry: { retries: 0 },
    });
    expect(await client.set("up", "stash")).toBe("OK");
    expect(await cluster.redis.ask("GET", "up")).toBe("stash");
    expect(await client.eval("return {KEYS[1], ARGV[1]}", ["k"], ["v"])).toEqual(["k", "v"]);
    await server.kill();
    await expect(client.get("up")).rejects.toThrow();
    await server.start();
    expect(await client.get<string>("up")).toBe("stash");
  });
});

describe("a server whose test was killed", () => {
  const PROGRAM = `
    import { RedisServer } from ${JSON.stringify(join(import.meta.dir, "support/services.ts"))};
    const servers = [await RedisServer.start(), await RedisServer.start()];
    await servers[1].pause();
    console.log(JSON.stringify(servers.map((server) => server.port)));
    await Bun.sleep(${START_MS_MAX});
  `;

  async function diesWithItsOwner(path: string): Promise<void> {
    const owner = Bun.spawn([process.execPath, "-e", PROGRAM], {
      env: { ...process.env, PATH: path },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    const { value } = await owner.stdout.pipeThrough(new TextDecoderStream()).getReader().read();
    const ports = JSON.parse(value ?? "[]") as number[];
    expect(ports).toHaveLength(2);
    for (const port of ports) expect(await isFree(port)).toBe(false);
    owner.kill("SIGKILL");
    await owner.exited;
    for (const port of ports) while (!(await isFree(port))) await Bun.sleep(5);
  }

  test("dies with it, paused or not", async () => {
    await diesWithItsOwner(process.env.PATH ?? "");
  });

  test("dies with it where the system has no setpriv", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tally-path-"));
    try {
      for (const name of ["sh", "cat", "redis-server"]) symlinkSync(Bun.which(name) ?? "", join(folder, name));
      await diesWithItsOwner(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("shared services", () => {
  test("are those that the environment names, with a database and a prefix for each caller", async () => {
    const named = { ...process.env };
    process.env[SHARED.redis] = cluster.redis.url;
    process.env[SHARED.kafka] = cluster.kafka.brokers;
    process.env[SHARED.mysql] = cluster.mysql.url;
    try {
      const [one, two] = await Promise.all([sharedServices(), sharedServices()]);
      expect(one.redis.url).toBe(cluster.redis.url);
      expect(new Set([one.mysql.url, two.mysql.url, cluster.mysql.url]).size).toBe(3);
      expect(one.prefix).not.toBe(two.prefix);
      expect(one.flags).toContain(one.mysql.url);
      await sendOne(one.kafka.brokers, `${one.prefix}.log`);
      await one.stop();
      await expect(sql(one.mysql.url, "SELECT 1")).rejects.toThrow("Unknown database");
      expect(await sql(two.mysql.url, "SELECT 1 AS a")).toEqual([{ a: 1 }]);
      await two.stop();
    } finally {
      for (const name of Object.values(SHARED)) {
        if (named[name] === undefined) delete process.env[name];
        else process.env[name] = named[name];
      }
    }
  });
});
