import { expect, test } from "bun:test";
import { HybridClock } from "../arithmetic/stamp.ts";
import { LOOKS_AT_ONCE } from "../limits.ts";
import { ID_BYTES_MAX } from "../model.ts";
import { ActKeys } from "./act-keys.ts";
import { ACTS_AT_ONCE, ActQueue } from "./act-queue.ts";
import { ActsLog } from "./acts-log.ts";
import { MESSAGE_BYTES_MAX } from "./kafka/rounds.ts";
import type { Act } from "./messages.ts";

const SHARD = 7;
const SUBJECT = `${"t".repeat(32)}/${"s".repeat(ID_BYTES_MAX)}`;
const none = { active: true, seen: null, isKept: false, atMs: null };
const once = (i: number) => ({ key: i.toString(16).padStart(32, "0"), body: "0".repeat(15).concat("1") });

/** The longest acts there are, all of one shard. */
const RELATION = (i: number): Act => {
  const actor = "a".repeat(ID_BYTES_MAX);
  return { ...none, shard: SHARD, metric: 255, subject: SUBJECT, actor, by: 0, once: once(i), visitor: null };
};
const VIEW = (i: number): Act => {
  return {
    ...none,
    shard: SHARD,
    metric: 255,
    subject: SUBJECT,
    actor: "",
    by: 9,
    once: once(i),
    visitor: 2 ** 31 - 1,
  };
};

for (const [what, act] of Object.entries({ relations: RELATION, "keyed views of visitors": VIEW })) {
  test(`what is logged together is one message at most: ${what}`, () => {
    const queue = new ActQueue();
    for (let i = 0; i < 40 * LOOKS_AT_ONCE; i += LOOKS_AT_ONCE)
      void queue.add(Array.from({ length: LOOKS_AT_ONCE }, (_, k) => act(i + k)));
    const log = { append: () => 0 };
    const acts = new ActsLog({
      log,
      keys: new ActKeys(),
      clock: new HybridClock(0),
      source: "r".repeat(32),
      partitions: 4,
    });
    const lengths: number[] = [];
    while (!queue.isEmpty) {
      const all = queue.next().flatMap((each) => each.acts);
      lengths.push(...acts.append(all).parcels.map(({ bytes }) => bytes.length));
    }
    expect(Math.max(...lengths)).toBeLessThanOrEqual(MESSAGE_BYTES_MAX);
    expect(lengths.length).toBeLessThan(20);
  });
}

test("acts are logged in the order they came, and those that came together stay together", async () => {
  const queue = new ActQueue();
  const parts = [ACTS_AT_ONCE - 1, 2, 1, ACTS_AT_ONCE, 1];
  let made = 0;
  for (const length of parts) void queue.add(Array.from({ length }, () => VIEW(made++)));
  const keys: string[] = [];
  const taken: number[][] = [];
  while (!queue.isEmpty) {
    const next = queue.next();
    taken.push(next.map(({ acts }) => acts.length));
    keys.push(...next.flatMap(({ acts }) => acts.map((act) => act.once?.key ?? "")));
  }
  expect(taken).toEqual([[ACTS_AT_ONCE - 1], [2, 1], [ACTS_AT_ONCE], [1]]);
  expect(keys).toEqual(Array.from({ length: made }, (_, i) => once(i).key));
});
