import { afterAll, beforeEach, expect, spyOn, test } from "bun:test";
import { LAG_MS_MAX } from "../limits.ts";
import type { HotStore } from "../ports/hot-store.ts";
import { Freshness } from "./freshness.ts";
import { HiddenActs } from "./hidden-acts.ts";

let nowMs = 0;
const clock = spyOn(performance, "now").mockImplementation(() => nowMs);
afterAll(() => clock.mockRestore());

let freshness: Freshness;
let hidden: HiddenActs;
/** What was put: the shards, and the stretch of the outbox. */
let puts: unknown[];
let unsettled: number[][];
beforeEach(() => {
  freshness = new Freshness(Freshness.allocate(1));
  unsettled = [];
  const unsettle = async (shards: number[]) => void unsettled.push(shards);
  hidden = new HiddenActs({ freshness, hot: { unsettle } as unknown as HotStore });
  puts = [];
});

const putAll = (answeredUpTo: number, leftUpTo: number, fails = false) =>
  hidden.put({ answeredUpTo, leftUpTo }, async (shards, upTo, from) => {
    if (fails) throw new Error("away");
    puts.push([[...shards], from, upTo]);
  });

test("acts are put once nobody puts them himself, and what is hidden meanwhile waits for the next turn", async () => {
  freshness.hide(3);
  await putAll(100, 40);
  freshness.hide(3);
  freshness.hide(5);
  await putAll(180, 99);
  expect(puts).toEqual([]);
  await putAll(200, 100);
  expect(puts).toEqual([[[3], 0, 100]]);
  expect([3, 5].map((shard) => freshness.hidden(shard))).toEqual([1, 1]);
  await putAll(200, 110);
  await putAll(300, 200);
  expect(puts[1]).toEqual([[3, 5], 0, 200]);
  expect([3, 5].map((shard) => freshness.hidden(shard))).toEqual([0, 0]);
});

test("where the put fails they stay hidden, and the next call tries again", async () => {
  freshness.hide(3);
  await putAll(100, 40);
  await expect(putAll(100, 100, true)).rejects.toThrow("away");
  expect(freshness.hidden(3)).toBe(1);
  await putAll(120, 110);
  expect(puts).toEqual([[[3], 0, 100]]);
  expect(freshness.hidden(3)).toBe(0);
});

test("what has been put for sure is not put again", async () => {
  const quiet = async (leftUpTo: number, ms: number) => {
    await putAll(1_000, leftUpTo);
    nowMs += ms;
  };
  await quiet(50, LAG_MS_MAX / 2);
  await quiet(60, LAG_MS_MAX / 2);
  await quiet(70, 0); // all before 50 would have been hidden by now
  freshness.hide(3);
  await quiet(80, 10 * LAG_MS_MAX);
  await quiet(1_000, 0);
  expect(puts).toEqual([[[3], 50, 1_000]]);
  hidden.allPut(700);
  freshness.hide(3);
  await putAll(1_100, 1_000);
  await putAll(1_200, 1_100);
  expect(puts[1]).toEqual([[3], 700, 1_100]);
});

test("once Kafka has them all are told, and nothing is left to put", async () => {
  freshness.hide(3);
  await putAll(100, 40);
  await hidden.tell(() => false);
  expect(unsettled).toEqual([]);
  await hidden.tell(() => true);
  expect(unsettled).toEqual([[3]]);
  await putAll(100, 100);
  expect(puts).toEqual([]);
  expect(freshness.hidden(3)).toBe(0);
});

test("what a former run left is not counted twice where its copy has it before", async () => {
  hidden.inherit([{ kind: "relation", shard: 3 } as never]);
  freshness.hide(3);
  await putAll(100, 40);
  hidden.shown(3);
  await putAll(100, 100);
  expect(freshness.hidden(3)).toBe(0);
  expect(puts).toEqual([[[3], 0, 100]]);
});
