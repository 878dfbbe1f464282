import { expect, test } from "bun:test";
import { ClusterWorld, residentBytes } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const AWAY_MS = 1_800;
const BETWEEN_MS = 600;
/** A look of 800 ms, or a request of a second, of which one follows another while it gets known; on a busy machine. */
const MOST_ANSWERS_MS_MAX = 1_300;
const ANSWER_MS_MAX = 2_500;
const LINES_MAX = 20;
/** A node has two workers and two more threads. */
const RESIDENT_BYTES_MAX = 500e6;

type Store = "redis" | "kafka" | "mysql";

interface Fault {
  name: string;
  store: Store;
  begin(world: ClusterWorld): Promise<unknown>;
  end(world: ClusterWorld): Promise<unknown>;
  /** Whether nodes are to say that it is away. */
  named: boolean;
}

const STORES: Store[] = ["mysql", "kafka", "redis"];
const FAULTS: Fault[] = STORES.flatMap((store): Fault[] => [
  {
    name: `${store} slow`,
    store,
    begin: ({ stores }) => Promise.all(stores.ways.map((ways) => ways[store].delay(60))),
    end: ({ stores }) => Promise.all(stores.ways.map((ways) => ways[store].heal())),
    named: false,
  },
  {
    name: `${store} paused`,
    store,
    begin: async ({ stores }) => stores[store].pause(),
    end: async ({ stores }) => stores[store].resume(),
    named: true,
  },
  {
    name: `${store} cut from node 0`,
    store,
    begin: (world) => world.ways(0)[store].cut(),
    end: (world) => world.ways(0)[store].heal(),
    named: true,
  },
  {
    name: `${store} killed`,
    store,
    begin: ({ stores }) => stores[store].kill(),
    end: ({ stores }) => stores[store].start(),
    named: true,
  },
]);

/** What /readyz says of the store. */
async function untilIs(world: ClusterWorld, { name, store }: Fault, status: "up" | "down"): Promise<void> {
  await eventually(async () => {
    const { parts } = await world.node(0).json<{ parts: Record<Store, { status: string }> }>("/readyz");
    expect([name, parts[store].status]).toEqual([name, status]);
  });
}

/** What the nodes did since `begin`. */
class Watch {
  readonly #world: ClusterWorld;
  readonly #lines: number[];

  constructor(world: ClusterWorld) {
    this.#world = world;
    this.#lines = world.servers.map(({ lines }) => lines.length);
  }

  end(fault: Fault): void {
    const { book, load, servers } = this.#world;
    for (const [i, { lines, pid }] of servers.entries()) {
      const said = lines.slice(this.#lines[i]).map(({ msg }) => msg);
      book.must(said.length <= LINES_MAX, () => `${fault.name}: ${said.length} lines: ${said.slice(0, 40).join("; ")}`);
      const bytes = residentBytes(pid);
      book.must(bytes < RESIDENT_BYTES_MAX, () => `${fault.name}: ${Math.round(bytes / 1e6)} MB resident`);
    }
    if (!load) return;
    const { taken } = load;
    if (fault.named) {
      book.must(taken.slowest.ms < ANSWER_MS_MAX, () => `${fault.name}: ${JSON.stringify(taken.slowest)}`);
      const p95 = taken.quantile(0.95);
      book.must(p95 < MOST_ANSWERS_MS_MAX, () => `${fault.name}: one of twenty answers took ${p95} ms`);
    }
    if (!process.env.STORY) return;
    const statuses = JSON.stringify(Object.fromEntries([...taken.statuses].sort()));
    console.log(`${fault.name}: ${Math.round(taken.slowest.ms)} ms ${taken.slowest.what} ${statuses}`);
  }
}

test(`stores away one after the other, under load (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED, redis: { aof: "always" } });
  const { book, allowed } = world;
  const load = await world.startLoad();
  for (const fault of FAULTS) {
    load.taken.reset();
    const watch = new Watch(world);
    // Redis that was away keeps acts that were answered 202 from it; all others show at once.
    allowed.stale = fault.store === "redis";
    allowed.unreadable = fault.store === "mysql";
    // What Redis is told holds for all nodes; what it cannot be told, for the node that was.
    allowed.roaming = fault.store !== "redis";
    const until = performance.now() + AWAY_MS;
    await fault.begin(world);
    if (fault.named) await untilIs(world, fault, "down");
    await Bun.sleep(Math.max(0, until - performance.now()));
    watch.end(fault);
    await fault.end(world);
    await untilIs(world, fault, "up");
    await Bun.sleep(BETWEEN_MS);
  }
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  console.log(`${book.answers} answers, ${book.lost} lost, ${book.refused} refused`);
}, 180_000);

/** Each for so long: what grows with every second, or is said every second, shows in the second half. */
const LONG_MS = 40_000;
/**
 * Of some 10,000 requests. Their threads' own heaps stay as small as they were; what the allocator keeps comes and goes by 100 MB,
 * more on a busy machine (a node came to 260 to 600 MB in two minutes and 50,000 requests, and fell again).
 */
const GROWN_BYTES_MAX = 300e6;
const LONG_BYTES_MAX = 800e6;
/** Said once in ten seconds at most, by three threads. */
const REPEATED_LINES_MAX = 15;

test(`a long outage of Kafka and MySQL: memory and logs stay bounded (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED });
  const { book, allowed, stores } = world;
  allowed.unreadable = true;
  await world.startLoad();
  await Promise.all([stores.kafka.kill(), stores.mysql.kill()]);
  /** The lowest of some seconds: what is needed, without what is about to be given back. */
  const look = async () => {
    const samples = world.servers.map(() => [] as number[]);
    for (let i = 0; i < 8; i++) {
      for (const [node, { pid }] of world.servers.entries()) samples[node]?.push(residentBytes(pid));
      await Bun.sleep(500);
    }
    return world.servers.map(({ lines }, node) => {
      return { bytes: Math.min(...(samples[node] ?? [])), lines: lines.length, answers: book.answers };
    });
  };
  await Bun.sleep(LONG_MS / 2);
  const before = await look();
  await Bun.sleep(LONG_MS / 2);
  const after = await look();
  for (const [i, { bytes, lines, answers }] of after.entries()) {
    const [grown, said] = [bytes - (before[i]?.bytes ?? 0), lines - (before[i]?.lines ?? 0)];
    console.log(`node ${i}: ${Math.round(bytes / 1e6)} MB, ${Math.round(grown / 1e6)} more, ${said} lines`);
    expect(answers - (before[i]?.answers ?? 0)).toBeGreaterThan(1_000);
    expect(bytes).toBeLessThan(LONG_BYTES_MAX);
    expect(grown).toBeLessThan(GROWN_BYTES_MAX);
    expect(said).toBeLessThan(REPEATED_LINES_MAX);
  }
  await Promise.all([stores.kafka.start(), stores.mysql.start()]);
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
}, 240_000);
