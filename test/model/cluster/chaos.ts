import type { World } from "../cluster.model.ts";
import { type Copy, cloneCopy } from "./copy.ts";
import { type Node, SHARDS, type Steps } from "./state.ts";

/** Everything that goes wrong, one thing after the other. */
export function* chaos(world: World): Steps {
  const { random, mix, redis, kafka, ledger } = world;
  const snapshots: (Copy | null)[][] = [];
  const faults = [
    mix.lose && (() => lose(world, snapshots)),
    mix.redisAway && (() => toggle(redis)),
    mix.kafkaAway && (() => toggle(kafka)),
    mix.cuts && (() => cut(random.pick(world.nodes) as Node)),
    mix.blind && (() => blind(random.pick(world.nodes) as Node)),
    mix.ledgerAway && (() => toggle(ledger)),
    mix.kafkaLoses && (() => loseTail(world)),
    mix.kill && (() => world.kill(random.pick(world.nodes) as Node, false)),
    mix.power && (() => world.kill(random.pick(world.nodes) as Node, true)),
  ].filter((fault) => typeof fault === "function");
  for (let i = mix.hasty ? 25 : 14; i > 0; i--) {
    for (let wait = random.below(random.pick(mix.hasty ? [4, 60, 300] : [4, 30, 60])); wait > 0; wait--) {
      yield;
      if (!random.chance(0.2)) continue;
      redis.late.splice(0, 1)[0]?.();
      redis.isTouched = true;
      // Where there is a spool again it would matter.
      if (world.nodes.some(({ isToldOf }) => isToldOf)) ledger.late.splice(0, 1)[0]?.();
    }
    runOut(world);
    snapshots.push(redis.copies.map((copy) => copy && cloneCopy(copy)));
    if (faults.length > 0 && random.chance(0.5)) random.pick(faults)();
  }
}

function toggle(store: { away: boolean }): void {
  store.away = !store.away;
}

function cut(node: Node): void {
  node.isCut = !node.isCut;
}

function blind(node: Node): void {
  node.isBlind = !node.isBlind;
}

/** Rows that nobody renews count no more: an answer was lost, they were taken away, and came afterwards. */
export function runOut({ ledger, nodes }: World): void {
  for (const row of ledger.spools) if (!nodes.some(({ disk }) => disk.rows.has(row))) ledger.spools.delete(row);
  for (const row of ledger.unseen) if (!nodes.some(({ disk }) => disk.unseenRows.has(row))) ledger.unseen.delete(row);
}

/** Redis comes back empty or with an older snapshot; or it is flushed while it runs. */
function lose(world: World, snapshots: (Copy | null)[][]): void {
  const { random, redis } = world;
  const old = snapshots.length > 0 && random.chance(0.5) ? random.pick(snapshots) : null;
  for (let shard = 0; shard < SHARDS; shard++) {
    const copy = old?.[shard];
    redis.copies[shard] = copy ? cloneCopy(copy) : null;
  }
  redis.hints = new Map();
  redis.isTouched = true;
  if (old || random.chance(0.7)) redis.run++;
  world.losses++;
}

/** The topic loses its tail, or is made anew. */
function loseTail(world: World): void {
  const { random, kafka } = world;
  kafka.log.length = random.chance(0.3) ? 0 : Math.max(0, kafka.log.length - random.below(6));
  world.clients.logLost();
}
