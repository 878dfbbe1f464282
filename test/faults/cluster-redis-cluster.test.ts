import { expect, test } from "bun:test";
import { shardOf } from "../../src/arithmetic/shard-of.ts";
import { slotOf } from "../../src/cluster/redis/slots.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { LedgerFloor } from "../support/ledger-floor.ts";
import { subjectOf } from "../support/load.ts";
import { RedisCluster, type RedisServer } from "../support/services.ts";
import { StillCounts } from "../support/still-counts.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const STILL = 24;
/** Of each kind. */
const MOVED = 5;
/** How long at least a slot stays as it is with one key moved. */
const HALFWAY_MS = 2_000;
const LAG_MS = 2_000;
/** In a second this load writes some forty times that to each master. */
const LOST_BYTES_MIN = 1_000;
/** Between two troubles: long enough for acts that are answered 200 again. */
const CALM_MS = 1_500;
/** A master is silent for its node timeout, an election, and a restarted one has to hear of it. */
const ROLE_MS_MAX = 30_000;
const TEST_MS_MAX = 300_000;

function keyOf(subject: string): string {
  return `tally:{${shardOf(subject).toString(16).padStart(2, "0")}}`;
}

async function replication(node: RedisServer): Promise<Map<string, string>> {
  const lines = String(await node.ask("INFO", "replication")).split("\r\n");
  return new Map(lines.map((line) => line.split(":", 2) as [string, string]));
}

function untilRole(node: RedisServer, role: "master" | "slave"): Promise<void> {
  return eventually(async () => {
    const info = await replication(node);
    expect(info.get("role")).toBe(role);
    if (role === "slave") expect(info.get("master_link_status")).toBe("up");
  }, ROLE_MS_MAX);
}

/** All is served again, every node knows it, and clients are answered 200 for a while. */
async function untilCalm(world: ClusterWorld, redis: RedisCluster): Promise<void> {
  await redis.healthy();
  await eventually(async () => {
    for (const server of world.servers) expect(await server.json("/readyz")).toMatchObject({ status: "ready" });
  }, ROLE_MS_MAX);
  await Bun.sleep(CALM_MS);
}

/** Slots that `master` serves: of subjects on which clients act, and of others. */
async function someSlots(master: RedisServer, others: readonly string[]): Promise<number[]> {
  const slots: number[] = [];
  for (const subjects of [Array.from({ length: 24 }, (_, i) => subjectOf(i)), others]) {
    const all = [...new Set(subjects.map((subject) => slotOf(keyOf(subject))))];
    const keys = await Promise.all(all.map((slot) => master.ask("CLUSTER", "COUNTKEYSINSLOT", slot)));
    const found = all.filter((slot, i) => keys[i] !== 0 && !slots.includes(slot)).slice(0, MOVED);
    expect(found.length).toBeGreaterThan(1);
    slots.push(...found);
  }
  return slots;
}

/** The master dies, the replica takes its place, and the dead one comes back to follow it. */
async function failOver(master: RedisServer, replica: RedisServer, afterDeath?: () => unknown): Promise<void> {
  await master.kill();
  await afterDeath?.();
  await untilRole(replica, "master");
  await Bun.sleep(CALM_MS);
  await master.start();
  await untilRole(master, "slave");
}

/** How many acts were answered 202, as Redis could not take them. */
function unshown({ load }: ClusterWorld): number {
  const statuses = [...(load?.taken.statuses ?? [])];
  return statuses.reduce((sum, [kind, times]) => sum + (kind.endsWith(" 202") ? times : 0), 0);
}

/** The same, during `work`. */
async function unshownDuring(world: ClusterWorld, work: () => Promise<unknown>): Promise<number> {
  world.load?.taken.reset();
  await work();
  return unshown(world);
}

test(
  `Redis Cluster: slots move, and masters fail over, under load (SEED=${SEED})`,
  async () => {
    await using redis = await RedisCluster.start();
    await using world = await ClusterWorld.start({ seed: SEED, redisUrl: redis.url });
    const { book, allowed } = world;
    const [giver, heir, other] = redis.masters as [RedisServer, RedisServer, RedisServer];
    const [, heirsReplica, othersReplica] = redis.replicas as [RedisServer, RedisServer, RedisServer];
    allowed.stale = true;
    await using still = await StillCounts.make(world, STILL);
    await world.startLoad();
    await using floor = await LedgerFloor.watch(world);

    const slots = await someSlots(giver, still.subjects);
    const duringMove = await unshownDuring(world, () => {
      return redis.move(slots, giver, heir, async () => {
        await Bun.sleep(HALFWAY_MS);
        await eventually(async () => expect(unshown(world)).toBeGreaterThan(0));
      });
    });
    for (const slot of slots) expect(await heir.ask("CLUSTER", "COUNTKEYSINSLOT", slot)).not.toBe(0);
    await untilCalm(world, redis);

    // The one that has just got them dies, and its replica has all that it had, or nearly.
    const duringFailover = await unshownDuring(world, () => failOver(heir, heirsReplica));
    for (const slot of slots) expect(await heirsReplica.ask("CLUSTER", "COUNTKEYSINSLOT", slot)).not.toBe(0);
    await untilCalm(world, redis);

    // Another one dies, and its replica has heard nothing of its last seconds.
    let lost = 0;
    const duringLag = await unshownDuring(world, async () => {
      await othersReplica.pause();
      await other.ask("CLIENT", "KILL", "TYPE", "replica");
      await Bun.sleep(LAG_MS);
      const offset = Number((await replication(other)).get("master_repl_offset"));
      await failOver(other, othersReplica, () => othersReplica.resume());
      lost = offset + 1 - Number((await replication(othersReplica)).get("second_repl_offset"));
    });
    expect(lost).toBeGreaterThan(LOST_BYTES_MIN);
    await untilCalm(world, redis);

    await world.stopLoad();
    await Promise.all([still.stop(), floor.stop()]);
    expect(Math.min(duringMove, duringFailover, duringLag)).toBeGreaterThan(0);
    expect(await world.verify()).toEqual([]);
    console.log(
      `${book.answers} answers, ${book.lost} lost, ${book.refused} refused, ${still.looks} and ${floor.looks} looks`,
    );
    console.log(`202: ${duringMove} as slots moved, ${duringFailover} and ${duringLag} as masters were away`);
    console.log(`${lost} bytes were not in the replica`);
  },
  TEST_MS_MAX,
);
