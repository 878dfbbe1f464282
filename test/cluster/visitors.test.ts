import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DAY_MS, dayOf } from "../../src/arithmetic/days.ts";
import { openDriver } from "../../src/cluster/redis/open-driver.ts";
import { SharedVisitors } from "../../src/cluster/redis/shared-visitors.ts";
import { ClusterVisitors } from "../../src/cluster/visitors.ts";
import type { Metric } from "../../src/model.ts";
import type { ClaimingAct, Visitor } from "../../src/ports/visitors.ts";
import { Claims } from "../../src/visitors/claims.ts";
import { ACTORS } from "../../src/visitors/salts.ts";
import { NodeVisitors } from "../../src/visitors/visitors.ts";
import { eventually } from "../support/eventually.ts";
import { RedisServer, TcpProxy } from "../support/services.ts";

const MINUTE = 60_000;
const VIEWS: Metric = { id: 1, name: "views", kind: "tally", unique: 30 * MINUTE };
const SOMEBODY = { address: "203.0.113.9", agent: "a browser" };
const ANN = { actor: "ann" };
const MIDNIGHT = Date.UTC(2027, 0, 1);
const NOON = MIDNIGHT - 12 * 60 * MINUTE;
const keyed = (digit: string, body = "0123456789abcdef"): ClaimingAct => ({ once: { key: digit.repeat(32), body } });

const complain = (problem: string) => expect(problem).toBe("");

let redis: RedisServer;
let folder: string;
const nodes: Node[] = [];
let worlds = 0;

/** A node with a clock and a way to Redis of its own. */
class Node {
  nowMs: number;
  readonly claims: Claims;
  readonly way: TcpProxy;
  readonly #driver: ReturnType<typeof openDriver>;
  readonly #visitors: ClusterVisitors;

  private constructor(way: TcpProxy, prefix: string, nowMs: number) {
    this.nowMs = nowMs;
    this.way = way;
    this.claims = Claims.open(join(folder, `${prefix}-${nodes.length}.tally`), { nowMs, complain });
    this.#driver = openDriver({ redisUrl: `redis://127.0.0.1:${way.port}`, redisToken: null });
    const own = new NodeVisitors(this.claims, () => this.nowMs);
    this.#visitors = new ClusterVisitors(own, new SharedVisitors(this.#driver, prefix));
  }

  static async start(prefix: string, nowMs: number): Promise<Node> {
    const node = new Node(await TcpProxy.start(Number(new URL(redis.url).port)), prefix, nowMs);
    nodes.push(node);
    await node.untilUp(true);
    return node;
  }

  untilUp(isUp: boolean): Promise<void> {
    return eventually(async () => expect(this.#driver.state.up).toBe(isUp));
  }

  async counts(visitor: Visitor, subject = "a/1", act: ClaimingAct = {}, metric = VIEWS): Promise<boolean> {
    return (await this.#visitors.claim(metric, subject, visitor, act)) !== null;
  }

  async release(visitor: Visitor, subject = "a/1"): Promise<void> {
    (await this.#visitors.claim(VIEWS, subject, visitor))?.release();
  }

  async close(): Promise<void> {
    await this.#driver.close();
    await this.way.close();
  }
}

/** Two nodes of one cluster; `skewMs`: how far the second one's clock is ahead. */
async function two(nowMs = NOON, skewMs = 0): Promise<[Node, Node]> {
  const prefix = `w${++worlds}`;
  return [await Node.start(prefix, nowMs), await Node.start(prefix, nowMs + skewMs)];
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tally-visitors-"));
  redis = await RedisServer.start();
});
afterAll(async () => {
  await redis.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  nodes.length = 0;
});
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
});

describe("visitors of two nodes", () => {
  test("count once, however many ask at once", async () => {
    const [here, there] = await two();
    for (const visitor of [ANN, SOMEBODY]) {
      const all = Array.from({ length: 40 }, (_, i) => [here, there][i % 2]?.counts(visitor));
      expect((await Promise.all(all)).filter(Boolean)).toHaveLength(1);
      expect([await here.counts(visitor, "a/2"), await there.counts(visitor, "a/2")]).toEqual([true, false]);
    }
  });

  test("may try again where the event could not be counted", async () => {
    const [here, there] = await two();
    await here.release(SOMEBODY);
    await eventually(async () => expect(await there.counts(SOMEBODY)).toBeTrue());
    await there.release(SOMEBODY);
    expect(await here.counts(SOMEBODY)).toBeFalse();
  });

  test("end everywhere at once: a node that heard of a claim later does not prolong it", async () => {
    const [here, there] = await two();
    // Redis has no clock but the real one: the second look must not be late by what is left then, whatever else runs.
    const brief = { ...VIEWS, unique: 4_000 };
    expect(await here.counts(ANN, "a/1", {}, brief)).toBeTrue();
    await Bun.sleep(1_500);
    there.nowMs += 1_500;
    expect(await there.counts(ANN, "a/1", {}, brief)).toBeFalse();
    await Bun.sleep(2_550);
    there.nowMs += 2_550;
    expect(await there.counts(ANN, "a/1", {}, brief)).toBeTrue();
  });

  test("without a name are one from before midnight to after it", async () => {
    const [here, there] = await two(MIDNIGHT - MINUTE);
    expect(await here.counts(SOMEBODY)).toBeTrue();
    here.nowMs = there.nowMs = MIDNIGHT + 28 * MINUTE;
    expect(await there.counts(SOMEBODY)).toBeFalse();
    expect(await here.counts(SOMEBODY)).toBeFalse();
    expect(await there.counts(SOMEBODY, "a/2")).toBeTrue();
    here.nowMs = there.nowMs = MIDNIGHT + 31 * MINUTE;
    expect(await here.counts(SOMEBODY, "a/2")).toBeFalse();
  });

  test.each([-2_000, 2_000])("count once around midnight where the clocks are %d ms apart", async (skewMs) => {
    const [here, there] = await two(MIDNIGHT, skewMs);
    let n = 0;
    for (const aroundMs of [MIDNIGHT, MIDNIGHT + 30 * MINUTE]) {
      for (let offsetMs = -3_000; offsetMs <= 3_000; offsetMs += 500) {
        here.nowMs = aroundMs + offsetMs;
        there.nowMs = here.nowMs + skewMs;
        const subject = `a/${++n}`;
        const order = n % 2 === 0 ? [here, there] : [there, here];
        const counted = [await order[0]?.counts(SOMEBODY, subject), await order[1]?.counts(SOMEBODY, subject)];
        expect(counted).toEqual([true, false]);
        const race = await Promise.all(order.map((node) => node.counts(SOMEBODY, `${subject} at once`)));
        expect(race.filter(Boolean)).toHaveLength(1);
      }
    }
  });
});

describe("keyed events", () => {
  test("are treated as they were, on every node", async () => {
    const [here, there] = await two();
    expect(await here.counts(ANN, "a/1", keyed("a"))).toBeTrue();
    expect(await there.counts(ANN, "a/1", keyed("b"))).toBeFalse();
    // The other node knows the visitor by now, and the key it must ask for.
    for (const node of [there, here, there]) {
      expect(await node.counts(ANN, "a/1", keyed("a"))).toBeTrue();
      expect(await node.counts(ANN, "a/1", keyed("b"))).toBeFalse();
    }
    for (const digit of ["a", "b"]) {
      for (const node of [here, there])
        await expect(node.counts(ANN, "a/1", keyed(digit, "ffffffff00000000"))).rejects.toThrow("another body");
    }
    expect(await there.counts(ANN)).toBeFalse();
  });

  test("are others once their key is not known any more, and their visitor has counted", async () => {
    const [here] = await two();
    expect(await here.counts(ANN, "a/1", keyed("e"))).toBeTrue();
    const known = (await redis.ask("KEYS", `*:k${"e".repeat(32)}`)) as string[];
    expect(known).toHaveLength(1);
    await redis.ask("DEL", ...known);
    const later = await Node.start(`w${worlds}`, NOON + 11 * MINUTE);
    expect(await later.counts(ANN, "a/1", keyed("e"))).toBeFalse();
  });

  test("many at once with one key are one", async () => {
    const [here, there] = await two();
    const all = Array.from({ length: 40 }, (_, i) => [here, there][i % 2]?.counts(SOMEBODY, "a/1", keyed("c")));
    expect((await Promise.all(all)).every(Boolean)).toBeTrue();
    expect(await here.counts(SOMEBODY, "a/1", keyed("d"))).toBeFalse();
  });

  test("a line of an upload that is sent again elsewhere gets its claim again", async () => {
    const [here, there] = await two();
    expect(await here.counts(ANN, "a/1", { line: "k 7" })).toBeTrue();
    expect(await there.counts(ANN, "a/1", { line: "k 8" })).toBeFalse();
    expect(await there.counts(ANN, "a/1", { line: "k 7" })).toBeTrue();
  });
});

describe("salts", () => {
  const days = [ACTORS, dayOf(NOON), dayOf(NOON) + 1];
  const saltsOf = (node: Node) => days.map((day) => node.claims.salts.of(day));

  test("are agreed upon by nodes that start at one moment, tomorrow's too", async () => {
    const [here, there] = await two();
    await Promise.all([here.counts(SOMEBODY), there.counts(SOMEBODY, "a/2")]);
    expect(saltsOf(here)).toEqual(saltsOf(there));
    expect(new Set(saltsOf(here)).size).toBe(3);
  });

  test("stay what they were when Redis has lost them, and a new node learns them", async () => {
    const [here] = await two();
    await here.counts(SOMEBODY);
    const before = saltsOf(here);
    await redis.ask("FLUSHALL");
    here.nowMs += 2 * MINUTE;
    await here.counts(SOMEBODY, "a/3");
    await eventually(async () => expect(await redis.ask("EXISTS", `w${worlds}:{salts}:${dayOf(NOON)}`)).toBe(1));
    const fresh = await Node.start(`w${worlds}`, here.nowMs);
    expect(await fresh.counts(SOMEBODY, "a/3")).toBeFalse();
    expect([saltsOf(here), saltsOf(fresh)]).toEqual([before, before]);
  });

  test("made while Redis was away give way to those of the others", async () => {
    const [here, there] = await two();
    await there.way.cut();
    await there.untilUp(false);
    expect([await here.counts(SOMEBODY), await there.counts(SOMEBODY)]).toEqual([true, true]);
    expect(saltsOf(there)).not.toEqual(saltsOf(here));
    await there.way.heal();
    await there.untilUp(true);
    expect(await there.counts(SOMEBODY)).toBeFalse();
    expect(saltsOf(there)).toEqual(saltsOf(here));
  });

  test("and claims are kept in Redis no longer than they are needed", async () => {
    const [here, there] = await two(MIDNIGHT + MINUTE);
    await here.counts(SOMEBODY);
    // A name that no hash has in it by chance.
    await there.counts({ actor: "ann who reads" }, "a/2", keyed("e"));
    const keys = (await redis.ask("KEYS", `w${worlds}:*`)) as string[];
    const lives = await Promise.all(keys.map(async (key) => [key, Number(await redis.ask("PTTL", key))] as const));
    const salts = lives.filter(([key]) => key.includes(":{salts}:"));
    const yesterday = dayOf(MIDNIGHT) - 1;
    const endOf = (key: string) => (Number(key.split(":").at(-1)) + 1) * DAY_MS + 30 * MINUTE - here.nowMs;
    expect(salts.map(([key]) => Number(key.split(":").at(-1))).sort((a, b) => a - b)).toEqual([
      yesterday,
      yesterday + 1,
      yesterday + 2,
      ACTORS,
    ]);
    for (const [key, ms] of salts) {
      const most = key.endsWith(String(ACTORS)) ? 366 * DAY_MS : endOf(key);
      expect(ms).toBeLessThanOrEqual(most);
      expect(ms).toBeGreaterThan(most - 30_000);
    }
    const claims = lives.filter(([key]) => !key.includes(":{salts}:"));
    // Two names around midnight, an actor's, and a key's outcome.
    expect(claims).toHaveLength(4);
    for (const [key, ms] of claims) {
      expect(ms).toBeGreaterThan(0);
      expect(ms).toBeLessThanOrEqual(key.endsWith(`:k${"e".repeat(32)}`) ? 10 * MINUTE : 30 * MINUTE);
      expect(key).not.toContain("ann who");
    }
  });
});
