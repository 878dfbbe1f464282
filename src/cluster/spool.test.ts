import { expect, test } from "bun:test";
import { eventually } from "../../test/support/eventually.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { Spool } from "./spool.ts";

function world() {
  const rows = new Set<string>();
  const state = { isEmpty: false, isAway: false, renewals: 0 };
  const ask = async (change: () => void) => {
    await Bun.sleep(1);
    if (state.isAway) throw new LedgerUnavailable("away");
    change();
  };
  const parts = {
    renew: (id: string) => {
      state.renewals++;
      return ask(() => rows.add(id));
    },
    remove: (id: string) => ask(() => rows.delete(id)),
    close: () => undefined,
  };
  return { rows, state, spool: new Spool(parts, () => state.isEmpty) };
}

test("the ledger knows before anybody is told, once for all, and until Kafka has everything", async () => {
  const { rows, state, spool } = world();
  expect(await Promise.all([spool.tell(), spool.tell()])).toEqual([true, true]);
  expect(rows.size).toBe(1);
  expect(await spool.tell()).toBe(true);
  expect(state.renewals).toBe(1);
  state.isEmpty = true;
  await eventually(async () => expect(rows.size).toBe(0));
  spool.close();
});

test("another time is another row", async () => {
  const { rows, state, spool } = world();
  await spool.tell();
  const [first] = rows;
  state.isEmpty = true;
  await eventually(async () => expect(rows.size).toBe(0));
  state.isEmpty = false;
  expect(await spool.tell()).toBe(true);
  expect([...rows]).not.toEqual([first]);
  spool.close();
});

test("a ledger that is away is told when it is back", async () => {
  const { rows, state, spool } = world();
  state.isAway = true;
  expect(await spool.tell()).toBe(false);
  state.isAway = false;
  await eventually(async () => expect(rows.size).toBe(1));
  expect(await spool.tell()).toBe(true);
  spool.close();
});
