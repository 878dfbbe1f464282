import { beforeEach, describe, expect, test } from "bun:test";
import {
  advance,
  catchUp,
  fresh,
  install,
  type LedgerVersion,
  putRelation,
  putTally,
  SHARDS,
  type Shard,
  settled,
  shardOf,
  shown,
} from "./shard.ts";

const LIKES = "likes of article/42";
const VIEWS = "views of article/42";
const LIKED = 101;
const UNLIKED = 104;

const ledger = (version: number, last: [string, number][] = [], position = version): LedgerVersion => ({
  version,
  position,
  last: new Map(last),
});
const like = (stamp: number, n: number) => ({ count: LIKES, stamp, source: "a", n });
const views = (amount: number, n: number) => ({ count: VIEWS, source: "b", n, amount });

let shard: Shard;
beforeEach(() => {
  shard = fresh(ledger(7), 7, 1);
});

test("a subject's shard is the low byte of its hash, whatever its sign", () => {
  expect([shardOf(0), shardOf(255), shardOf(256), shardOf(-1), shardOf(0xdeadbeef)]).toEqual([0, 255, 0, 255, 0xef]);
  expect(SHARDS).toBe(256);
});

describe("a count", () => {
  test("is not shown before its base has been loaded, at the shard's version", () => {
    expect(shown(shard, VIEWS)).toBeNull();
    expect(install(shard, VIEWS, 10, 6)).toBe(false);
    expect(shown(shard, VIEWS)).toBeNull();
    expect(install(shard, VIEWS, 10, 7)).toBe(true);
    expect(install(shard, VIEWS, 99, 7)).toBe(true);
    expect(shown(shard, VIEWS)).toBe(10);
  });

  test("is base and what is on its way, each batch once", () => {
    install(shard, VIEWS, 10, 7);
    putTally(shard, views(3, 1));
    putTally(shard, views(3, 1));
    putTally(shard, views(4, 2));
    expect(shown(shard, VIEWS)).toBe(17);
  });

  test("stays the same when the ledger takes over what was on its way", () => {
    install(shard, VIEWS, 10, 7);
    putTally(shard, views(3, 1));
    putTally(shard, views(4, 2));
    const counts = new Map([[VIEWS, 13]]);
    expect(advance(shard, { ...ledger(8, [["b", 1]]), counts }, new Map())).toBe(true);
    expect(shown(shard, VIEWS)).toBe(17);
    expect([...shard.tallies.values()].map((entry) => entry.n)).toEqual([2]);
    putTally(shard, views(3, 1));
    expect(shown(shard, VIEWS)).toBe(17);
  });
});

describe("a relation", () => {
  beforeEach(() => {
    install(shard, LIKES, 5, 7);
  });

  test("needs to know what the ledger has, at the shard's version", () => {
    expect(putRelation(shard, "x", like(LIKED, 1), null)).toBe("miss");
    expect(putRelation(shard, "x", like(LIKED, 1), { stamp: 0, version: 6 })).toBe("behind");
    expect(putRelation(shard, "x", like(LIKED, 1), { stamp: 0, version: 7 })).toBe("ok");
    expect(shown(shard, LIKES)).toBe(6);
  });

  test("counts by the bit it rests on, in any order", () => {
    const hint = { stamp: 99, version: 7 };
    putRelation(shard, "x", like(UNLIKED, 2), hint);
    expect(shown(shard, LIKES)).toBe(4);
    putRelation(shard, "x", like(LIKED, 1), hint);
    expect(shown(shard, LIKES)).toBe(4);
    putRelation(shard, "y", like(97, 3), hint);
    expect(shard.relations.has("y")).toBe(false);
  });

  test("is rebased when the ledger's register moves under it", () => {
    putRelation(shard, "x", like(UNLIKED, 2), { stamp: 0, version: 7 });
    expect(shown(shard, LIKES)).toBe(5);
    const counts = new Map([[LIKES, 6]]);
    advance(shard, { ...ledger(8, [["a", 1]]), counts }, new Map([["x", LIKED]]));
    expect(shown(shard, LIKES)).toBe(5);
    advance(shard, { ...ledger(9, [["a", 2]]), counts: new Map([[LIKES, 5]]) }, new Map([["x", UNLIKED]]));
    expect(shard.relations.size).toBe(0);
    expect(shown(shard, LIKES)).toBe(5);
  });

  test("that was refused leaves the overlay by its number alone", () => {
    putRelation(shard, "x", like(LIKED, 1), { stamp: 0, version: 7 });
    advance(shard, { ...ledger(8, [["a", 1]]), counts: new Map() }, new Map());
    expect(shown(shard, LIKES)).toBe(5);
    expect(putRelation(shard, "x", like(LIKED, 1), null)).toBe("ok");
    expect(shown(shard, LIKES)).toBe(5);
  });
});

describe("a shard that missed a commit", () => {
  test("does not advance, and is caught up: overlay kept and rebased, bases dropped", () => {
    install(shard, LIKES, 5, 7);
    putRelation(shard, "x", like(UNLIKED, 2), { stamp: 0, version: 7 });
    expect(advance(shard, { ...ledger(9), counts: new Map([[LIKES, 6]]) }, new Map())).toBe(false);
    expect(catchUp(shard, ledger(9, [["a", 1]]), new Map())).toBe(false);
    // The last number of an entry's source is not known: it may have retired.
    expect(catchUp(shard, ledger(9), new Map([["x", LIKED]]))).toBe(false);
    expect(catchUp(shard, ledger(9, [["a", 1]]), new Map([["x", LIKED]]))).toBe(true);
    expect(shown(shard, LIKES)).toBeNull();
    install(shard, LIKES, 6, 9);
    expect(shown(shard, LIKES)).toBe(5);
    expect(catchUp(shard, ledger(8), new Map([["x", 0]]))).toBe(false);
  });
});

test("a shard that lost data is settled when the ledger has passed what the log held", () => {
  const lost = fresh(ledger(7), 9, 2);
  expect(settled(lost)).toBe(false);
  advance(lost, { ...ledger(8), position: 9, counts: new Map() }, new Map());
  expect(settled(lost)).toBe(true);
});
