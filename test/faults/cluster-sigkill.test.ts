import { expect, test } from "bun:test";
import { ClusterWorld } from "../support/cluster-world.ts";
import { random } from "../support/random.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const KILLS = 8;

test(`nodes and projectors killed and started again, under load (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 2 });
  const { book } = world;
  await world.startLoad();
  for (let kill = 0; kill < KILLS; kill++) {
    await Bun.sleep(200 + dice.below(800));
    if (kill % 4 === 3) {
      // The other one gets its partitions, and loses them again when this one is back.
      const index = dice.below(2);
      await world.killConsumer(index);
      await Bun.sleep(dice.below(1_000));
      await world.startConsumer(index);
    } else {
      const index = kill % 2;
      await world.killNode(index);
      await Bun.sleep(dice.below(300));
      await world.startNode(index);
    }
    expect(book.wrong).toEqual([]);
  }
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  console.log(`${book.answers} answers, ${book.lost} lost, ${book.refused} refused`);
}, 120_000);

test(`both nodes and the projectors killed at once, again and again (SEED=${SEED})`, async () => {
  const dice = random(SEED + 1);
  await using world = await ClusterWorld.start({ seed: SEED + 1 });
  const { book } = world;
  await world.startLoad();
  for (let kill = 0; kill < 4; kill++) {
    await Bun.sleep(300 + dice.below(700));
    await Promise.all([world.killNode(0), world.killNode(1)]);
    await Promise.all([world.startNode(0), world.startNode(1)]);
  }
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  console.log(`${book.answers} answers, ${book.lost} lost, ${book.refused} refused`);
}, 120_000);
