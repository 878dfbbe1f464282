import { expect, test } from "bun:test";
import { ClusterWorld } from "../support/cluster-world.ts";
import { type Random, random } from "../support/random.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const CHAOS_MS = Number(process.env.CHAOS_MS ?? 90_000);
/** How many faults last at once. */
const LINES = 2;
const STORES = ["redis", "kafka", "mysql"] as const;

/** Begins something, and gives what ends it. One store has one trouble at a time. */
type Trouble = (world: ClusterWorld, dice: Random) => Promise<() => Promise<unknown>>;

const TROUBLES: Record<string, { of: string; begin: Trouble }> = {};
for (const store of STORES) {
  const add = (name: string, begin: Trouble) => {
    TROUBLES[`${store} ${name}`] = { of: store, begin };
  };
  add("killed", async ({ stores }) => {
    await stores[store].kill();
    return () => stores[store].start();
  });
  add("paused", async ({ stores }) => {
    await stores[store].pause();
    return () => stores[store].resume();
  });
  for (const how of ["cut", "hang", "mute"] as const) {
    add(`${how} for one node`, async (world, dice) => {
      const way = world.ways(dice.below(2))[store];
      await way[how]();
      return () => way.heal();
    });
  }
  add("slow", async ({ stores }) => {
    await Promise.all(stores.ways.map((ways) => ways[store].delay(40)));
    return () => Promise.all(stores.ways.map((ways) => ways[store].heal()));
  });
}
TROUBLES["redis flushed"] = {
  of: "redis",
  begin: async ({ stores }) => {
    await stores.redis.ask("FLUSHALL");
    return async () => undefined;
  },
};
TROUBLES["redis older"] = {
  of: "redis",
  begin: async ({ stores }, dice) => {
    const old = await stores.redis.snapshot();
    await Bun.sleep(dice.below(1_500));
    await stores.redis.kill();
    return () => stores.redis.start({ data: old });
  },
};
for (const index of [0, 1]) {
  TROUBLES[`node ${index} killed`] = {
    of: `node ${index}`,
    begin: async (world) => {
      await world.killNode(index);
      return () => world.startNode(index);
    },
  };
}

test(`several troubles at once, in random order (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  await using world = await ClusterWorld.start({ seed: SEED });
  const { book, allowed } = world;
  allowed.stale = true;
  allowed.unreadable = true;
  await world.startLoad();
  const busy = new Set<string>();
  const story: string[] = [];
  const began = performance.now();
  const say = (what: string) => story.push(`${Math.round(performance.now() - began)} ${what}`);
  const line = async () => {
    while (performance.now() - began < CHAOS_MS) {
      await Bun.sleep(dice.below(700));
      const [name, trouble] = dice.pick(Object.entries(TROUBLES).filter(([, { of }]) => !busy.has(of)));
      busy.add(trouble.of);
      say(name);
      const end = await trouble.begin(world, dice);
      await Bun.sleep(100 + dice.below(2_500));
      await end();
      say(`${name}: over`);
      busy.delete(trouble.of);
    }
  };
  await Promise.all(Array.from({ length: LINES }, line));
  await world.stopLoad();
  const wrong = await world.verify();
  if (wrong.length > 0 || process.env.STORY) console.log(story.join("\n"));
  expect(wrong).toEqual([]);
  console.log(`${book.answers} answers, ${book.lost} lost, ${book.refused} refused`);
}, 300_000);
