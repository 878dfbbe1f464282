import { HOST } from "./ports.ts";
import { RedisServer } from "./redis.ts";

const SLOTS = 16_384;
const MASTERS = 3;
/** How long a master may be silent before its replica takes over. */
const NODE_TIMEOUT_MS = 1_500;
const FORM_MS_MAX = 60_000;
const MIGRATE_MS_MAX = 5_000;
const LOOK_MS = 50;

export interface RedisClusterOptions {
  /** One for each master (the default), or none. */
  replicas?: boolean;
  nodeTimeoutMs?: number;
  args?: string[];
}

/** Three masters, each with a third of the slots, and a replica of each. */
export class RedisCluster {
  readonly masters: readonly RedisServer[];
  /** `replicas[i]` follows `masters[i]` (as they were at the start). */
  readonly replicas: readonly RedisServer[];

  private constructor(masters: RedisServer[], replicas: RedisServer[]) {
    this.masters = masters;
    this.replicas = replicas;
  }

  static async start(options: RedisClusterOptions = {}): Promise<RedisCluster> {
    const { replicas = true, nodeTimeoutMs = NODE_TIMEOUT_MS, args = [] } = options;
    const nodes: RedisServer[] = [];
    for (let i = 0; i < (replicas ? 2 : 1) * MASTERS; i++)
      nodes.push(await RedisServer.createNode(nodeTimeoutMs, args));
    const cluster = new RedisCluster(nodes.slice(0, MASTERS), nodes.slice(MASTERS));
    try {
      await Promise.all(nodes.map((node) => node.start()));
      await cluster.#form();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  get nodes(): RedisServer[] {
    return [...this.masters, ...this.replicas];
  }

  /** `redis+cluster://host:port,host:port,…` of all of them. */
  get url(): string {
    return `redis+cluster://${this.nodes.map((node) => `${HOST}:${node.port}`).join(",")}`;
  }

  /** Resolves when all running nodes agree who serves which slots: all of the slots, and each of them one that runs. */
  async healthy(): Promise<void> {
    await until(async () => {
      const running = this.nodes.filter((node) => node.state === "running");
      const views = new Set<string>();
      for (const node of running) {
        if (!String(await node.ask("CLUSTER", "INFO")).includes("cluster_state:ok")) return false;
        const ranges = await rangesSeenBy(node);
        const served = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
        if (served !== SLOTS || !ranges.every(({ port }) => running.some((other) => other.port === port))) return false;
        views.add(JSON.stringify(ranges));
      }
      return views.size === 1;
    });
  }

  /** Which of the running nodes serves `key` itself. */
  async masterOf(key: string): Promise<RedisServer> {
    for (const node of this.nodes) {
      if (node.state !== "running") continue;
      const isServed = await node.ask("TYPE", key).then(
        () => true,
        () => false, // another does, or for now nobody
      );
      if (isServed) return node;
    }
    throw new Error(`no running node serves ${key}`);
  }

  /**
   * Has `to` serve the slots from now on, with all their keys. `halfway` is called while the first key of the first slot has
   * moved and the others have not.
   */
  async move(slots: readonly number[], from: RedisServer, to: RedisServer, halfway?: () => unknown): Promise<void> {
    const [fromId, toId] = [String(await from.ask("CLUSTER", "MYID")), String(await to.ask("CLUSTER", "MYID"))];
    for (const [i, slot] of slots.entries()) {
      await to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
      await from.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
      for (let moved = 0; ; ) {
        const [key] = (await from.ask("CLUSTER", "GETKEYSINSLOT", slot, 1)) as string[];
        if (key === undefined) break;
        await from.ask("MIGRATE", HOST, to.port, key, 0, MIGRATE_MS_MAX);
        if (++moved === 1 && i === 0) await halfway?.();
      }
      // Whoever gives it away is told last but for the others: until then each of the two knows where to send who asks.
      for (const node of [to, from, ...this.nodes.filter((other) => other !== to && other !== from)]) {
        if (node.state !== "running" || !(await isMaster(node))) continue;
        await node.ask("CLUSTER", "SETSLOT", slot, "NODE", toId);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #form(): Promise<void> {
    const first = this.masters[0] as RedisServer;
    for (const [i, node] of this.nodes.entries()) {
      await node.ask("CLUSTER", "SET-CONFIG-EPOCH", i + 1);
      if (node !== first) await first.ask("CLUSTER", "MEET", HOST, node.port, node.busPort ?? 0);
    }
    for (const [i, node] of this.masters.entries()) {
      const [from, to] = [i, i + 1].map((part) => Math.floor((part * SLOTS) / MASTERS)) as [number, number];
      await node.ask("CLUSTER", "ADDSLOTSRANGE", from, to - 1);
    }
    for (const [i, replica] of this.replicas.entries()) {
      const id = String(await this.masters[i]?.ask("CLUSTER", "MYID"));
      // It has to have heard of its master first.
      await until(async () => String(await replica.ask("CLUSTER", "NODES")).includes(id));
      await replica.ask("CLUSTER", "REPLICATE", id);
    }
    await this.healthy();
    for (const replica of this.replicas) {
      await until(async () => String(await replica.ask("INFO", "replication")).includes("master_link_status:up"));
    }
    await until(() => this.#allKnowAll());
  }

  /** A replica that others still take for an empty master would not get their vote. */
  async #allKnowAll(): Promise<boolean> {
    for (const node of this.nodes) {
      const lines = String(await node.ask("CLUSTER", "NODES"))
        .trim()
        .split("\n");
      const replicas = lines.filter((line) => line.includes("slave"));
      if (lines.length !== this.nodes.length || replicas.length !== this.replicas.length) return false;
    }
    return true;
  }
}

async function isMaster(node: RedisServer): Promise<boolean> {
  const [role] = (await node.ask("ROLE")) as [string];
  return role === "master";
}

interface Range {
  first: number;
  last: number;
  /** Of the master that serves it. */
  port: number;
}

async function rangesSeenBy(node: RedisServer): Promise<Range[]> {
  const answer = (await node.ask("CLUSTER", "SLOTS")) as [number, number, [string, number, ...unknown[]]][];
  const ranges = answer.map(([first, last, [, port]]) => ({ first, last, port }));
  return ranges.sort((a, b) => a.first - b.first);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + FORM_MS_MAX;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`the Redis cluster is not well after ${FORM_MS_MAX} ms`);
    await Bun.sleep(LOOK_MS);
  }
}
