import { describe, expect, test } from "bun:test";
import { random } from "../../../test/support/random.ts";
import type { LogRecord } from "../../records.ts";
import { groupsOf } from "../notes.ts";
import { fold, LastNumbers, touchedBy } from "./fold.ts";
import type { LogMessage } from "./messages.ts";

const AT_MS = Date.UTC(2026, 10, 20, 12);
const view = (n: number, shard = 1, key?: string): LogRecord => ({
  kind: "tally",
  shard,
  n,
  metric: 1,
  subject: `article/${shard}`,
  amount: n,
  atMs: AT_MS,
  slot: 0,
  notedAfter: 0,
  once: key === undefined ? undefined : { key, body: "b", atMs: AT_MS },
});
const like = (n: number, shard = 1, key?: string): LogRecord => {
  const once = key === undefined ? undefined : { key, body: "b", atMs: AT_MS };
  return { kind: "relation", shard, n, metric: 2, subject: `article/${shard}`, actor: "x", stamp: 2 * n + 1, once };
};
const message = (offset: number, ...records: LogRecord[]): LogMessage => {
  return { partition: 1, offset, frame: { source: "a", records } };
};
const decide = (messages: LogMessage[], last = new LastNumbers()) => {
  return fold(messages, { last, keys: [] }, { nowMs: AT_MS });
};

describe("what a commit has decided", () => {
  test("groups are the runs of amounts without keys, by message and shard", () => {
    const { decisions } = decide([
      message(0, view(1), view(1, 2), view(2), view(3, 1, "k"), view(4), view(2, 2)),
      message(1, view(5), like(6), view(7), like(3, 2)),
    ]);
    expect(decisions.get(1)).toEqual({
      groups: [
        ["a", 2],
        ["a", 4],
        ["a", 5],
        ["a", 7],
      ],
      keys: ["k"],
    });
    expect(decisions.get(2)?.groups).toEqual([["a", 2]]);
  });

  test("keys are those of every kind, of repeats too", () => {
    const { decisions } = decide([
      message(0, like(1, 1, "a"), view(2, 1, "b"), like(3), like(4, 1, "a"), like(1, 2, "c")),
    ]);
    expect(decisions.get(1)).toEqual({ groups: [], keys: ["a", "b", "a"] });
    expect(decisions.get(2)?.keys).toEqual(["c"]);
  });

  test("is all that had waited behind a gap, and what fills it", () => {
    const { decisions, held } = decide([message(1, view(2)), message(2, view(3, 1, "k")), message(3, view(1))]);
    expect(held).toEqual([]);
    expect(decisions.get(1)).toEqual({
      groups: [
        ["a", 2],
        ["a", 1],
      ],
      keys: ["k"],
    });
  });

  test("is nothing that was decided before", () => {
    const last = new LastNumbers();
    last.set("a", 1, 2);
    const { decisions, records } = decide([message(0, view(1), view(2)), message(1, view(3))], last);
    expect([records, decisions.get(1)?.groups]).toEqual([1, [["a", 3]]]);
  });
});

describe("a message behind a gap", () => {
  test("is held with its place, what stands before the gap in it is not", () => {
    const messages = [message(0, view(1), view(3), view(1, 2)), message(1, view(5))];
    const { held, gaps, batch, records } = decide(messages);
    expect(held).toEqual(messages);
    expect(gaps).toEqual([{ source: "a", shard: 1, from: 2, to: 2 }]);
    expect([records, batch.sources.map(({ shard, last }) => [shard, last])]).toEqual([
      2,
      [
        [1, 1],
        [2, 1],
      ],
    ]);
  });

  test("is no longer behind one when another one fills it, however they wait for each other", () => {
    const messages = [
      message(0, view(2), view(2, 2)),
      message(1, view(1, 2), view(3)),
      message(2, view(1), view(3, 2)),
    ];
    expect(decide(messages).held).toEqual([]);
    expect(decide(messages.toReversed()).held).toEqual([]);
  });
});

test("in whatever order messages come, and how often: once all is decided, all that was on its way has been named", () => {
  for (let seed = 0; seed < 500; seed++) {
    const dice = random(seed);
    const next = [0, 0];
    const sent = Array.from({ length: 12 }, (_, offset) => {
      const records = Array.from({ length: 1 + dice.below(4) }, () => {
        const shard = dice.below(2);
        const n = ++(next[shard] as number);
        next[shard] = n;
        return view(n, shard, dice.chance(0.2) ? `${shard} ${n}` : undefined);
      });
      return message(offset, ...records);
    });
    const onTheWay = new Set(
      sent.flatMap(({ frame }) => [
        ...groupsOf("a", frame.records).map(({ shard, group }) => `${shard} ${group.n}`),
        ...frame.records.flatMap(({ once }) => once?.key ?? []),
      ]),
    );
    const twice = sent.filter(() => dice.chance(0.3));
    const coming = [...sent, ...twice].sort(() => dice.next() - 0.5);
    const last = new LastNumbers();
    let held: LogMessage[] = [];
    while (coming.length > 0) {
      const folded = decide([...held, ...coming.splice(0, 1 + dice.below(4))], last);
      held = folded.held;
      for (const { shard, last: n } of folded.batch.sources) last.set("a", shard, n);
      for (const [shard, { groups, keys }] of folded.decisions) {
        for (const [, n] of groups) {
          if (n > last.get("a", shard)) throw new Error(`seed ${seed}: ${n} is named before it is decided`);
          onTheWay.delete(`${shard} ${n}`);
        }
        for (const key of keys) onTheWay.delete(key);
      }
    }
    expect([seed, held, [...onTheWay]]).toEqual([seed, [], []]);
  }
});

test("what messages touch: shards in their order with the partition they came in", () => {
  const touched = touchedBy([message(0, view(1, 9), view(1, 4, "k"))], new Map([[3, 7]]));
  expect([...touched.shards]).toEqual([
    [4, 1],
    [9, 1],
  ]);
  expect([touched.partitions, [...touched.keys]]).toEqual([[1, 3], ["k"]]);
  expect(touched.sources).toEqual(new Map([["a", new Set([9, 4])]]));
});
