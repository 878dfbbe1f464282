import { expect, test } from "bun:test";
import { HotStoreAway } from "../ports/hot-store.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { Applied } from "./applied.ts";

function world() {
  const state = { end: 3, position: 0, questions: 0, isKafkaAway: false, isLedgerAway: false };
  const applied = new Applied({
    partitions: 4,
    log: {
      end: async () => {
        if (state.isKafkaAway) throw new HotStoreAway("away");
        return state.end;
      },
    },
    ledger: {
      positions: async () => {
        state.questions++;
        if (state.isLedgerAway) throw new LedgerUnavailable("away");
        return new Map([[1, state.position]]);
      },
    },
  });
  return { state, applied };
}

test("waits until the ledger has come to where the log ended when it was asked", async () => {
  const { state, applied } = world();
  const waiting = Promise.all(Array.from({ length: 50 }, () => applied.within(5, 10_000)));
  await Bun.sleep(60);
  expect(state.questions).toBeLessThan(6);
  state.end = 9;
  state.position = 3;
  expect(await waiting).toEqual(Array(50).fill(true));
});

test("does not know where it takes too long, or a store is away", async () => {
  const { state, applied } = world();
  expect(await applied.within(5, 30)).toBe(false);
  expect(await applied.within(6, 30)).toBe(false);
  state.position = 3;
  expect(await applied.within(5, 30)).toBe(true);
  state.isLedgerAway = true;
  expect(await applied.within(5, 30)).toBe(false);
  state.isLedgerAway = false;
  state.isKafkaAway = true;
  expect(await applied.within(5, 30)).toBe(false);
});
