import { expect, test } from "bun:test";
import { FrameWriter } from "../../records.ts";
import { Applier, type ApplierHandlers, Poison } from "./applier.ts";
import type { BadMessage } from "./gather.ts";
import { Signal } from "./wait.ts";

const writer = new FrameWriter();

function message(offset: number): { offset: string; value: Buffer } {
  writer.begin("source");
  writer.add({ kind: "erase", shard: 0, n: offset + 1, metric: 0, subject: "a/1", actor: "", stamp: 2 });
  return { offset: String(offset), value: Buffer.from(writer.finish()) };
}

const numbered = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => message(from + i));

/** An applier, and all that it has handed over; `judge` may reject. */
function start(judge: (offsets: string[]) => Promise<void> | void = () => {}, records = 1_000) {
  const calls: { offsets: string[]; positions: [number, number][] }[] = [];
  const aside: BadMessage[] = [];
  const called = new Signal();
  const handlers: ApplierHandlers = {
    apply: async (messages, positions) => {
      const offsets = messages.map(({ partition, offset }) => `${partition}/${offset}`);
      try {
        await judge(offsets);
        calls.push({ offsets, positions: [...positions] });
      } finally {
        called.fire();
      }
    },
    putAside: async (bad) => {
      aside.push(...bad);
    },
  };
  return { applier: new Applier(handlers, { records, bytes: 1e6, gatherMs: 10 }), calls, aside, called };
}

test("hands over what came together, with the positions behind it", async () => {
  const { applier, calls, called } = start();
  applier.add(1, numbered(5, 6), 7);
  applier.add(2, numbered(0, 0), 1);
  applier.add(1, numbered(7, 7), 9); // 8 is somebody's mark
  await called.wait();
  expect(calls).toEqual([
    {
      offsets: ["1/5", "1/6", "2/0", "1/7"],
      positions: [
        [1, 9],
        [2, 1],
      ],
    },
  ]);
  await applier.stop();
});

test("full before its time: handed over at once, and the next gathered meanwhile", async () => {
  const gate = Promise.withResolvers<void>();
  const { applier, calls, called } = start(() => gate.promise, 3);
  applier.add(0, numbered(0, 2), 3);
  await applier.room(1_000);
  expect(applier.isFull).toBe(false);
  applier.add(0, numbered(3, 9), 10);
  expect(applier.isFull).toBe(true);
  expect(calls).toEqual([]);
  gate.resolve();
  await called.wait();
  await called.wait();
  expect(calls.map(({ offsets }) => offsets.length)).toEqual([3, 7]);
  await applier.stop();
});

test("rejected: the same again, before anything newer", async () => {
  let tries = 0;
  const { applier, calls, called } = start(() => {
    if (++tries < 3) throw new Error("away");
  });
  applier.add(0, numbered(0, 0), 1);
  await called.wait();
  applier.add(0, numbered(1, 1), 2);
  await called.wait();
  await called.wait();
  await called.wait();
  expect(calls.map(({ offsets }) => offsets)).toEqual([["0/0"], ["0/1"]]);
  await applier.stop();
});

test("poison and what is no frame are put aside before the positions behind them are handed over", async () => {
  const { applier, calls, aside, called } = start((offsets) => {
    if (offsets.includes("0/1")) throw new Poison({ partition: 0, offset: 1 }, "bad");
  });
  applier.add(0, [...numbered(0, 2), { offset: "3", value: Buffer.from([9]) }], 4);
  await called.wait();
  await called.wait();
  expect(aside.map(({ offset }) => offset)).toEqual([3, 1]);
  expect(calls).toEqual([{ offsets: ["0/0", "0/2"], positions: [[0, 4]] }]);
  await applier.stop();
});

test("drop forgets what was gathered and what is retried, and waits for what is being applied", async () => {
  let isAway = true;
  const { applier, calls, called } = start(() => {
    if (isAway) throw new Error("away");
  });
  applier.add(0, numbered(0, 0), 1);
  await called.wait();
  applier.add(0, numbered(1, 1), 2);
  await applier.drop();
  isAway = false;
  applier.add(0, numbered(0, 1), 2);
  await called.wait();
  expect(calls.map(({ offsets }) => offsets)).toEqual([["0/0", "0/1"]]);
  await applier.stop();
});

test("a position alone is handed over, too, and nothing while it is paused", async () => {
  const { applier, calls, called } = start();
  await applier.pause();
  applier.moveTo(4, 0);
  await Bun.sleep(30);
  expect(calls).toEqual([]);
  applier.resume();
  await called.wait();
  expect(calls).toEqual([{ offsets: [], positions: [[4, 0]] }]);
  await applier.stop();
});
