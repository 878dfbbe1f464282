import { expect, test } from "bun:test";
import { eventually } from "../../test/support/eventually.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { Notice } from "./notice.ts";

/** One ledger and one disk, on which runs follow one another. */
function world() {
  const rows = new Set<string>();
  const state = { isEmpty: false, isAway: false, renewals: 0, names: [] as readonly string[] };
  const ask = async (change: () => void) => {
    await Bun.sleep(1);
    if (state.isAway) throw new LedgerUnavailable("away");
    change();
  };
  const parts = {
    renew: (id: string) => {
      expect(state.names).toContain(id);
      state.renewals++;
      return ask(() => rows.add(id));
    },
    remove: (ids: readonly string[]) => ask(() => ids.forEach((id) => void rows.delete(id))),
    close: () => undefined,
  };
  const names = {
    read: () => [...state.names],
    write: (ids: readonly string[]) => {
      state.names = ids;
    },
  };
  const start = () => new Notice({ rows: parts, names, isEmpty: () => state.isEmpty });
  return { rows, state, start, notice: start() };
}

test("the ledger knows before anybody is told, once for all, and until Kafka has everything", async () => {
  const { rows, state, notice } = world();
  expect(await Promise.all([notice.tell(), notice.tell()])).toEqual([true, true]);
  expect(rows.size).toBe(1);
  expect(await notice.tell()).toBe(true);
  expect(state.renewals).toBe(1);
  state.isEmpty = true;
  await eventually(async () => expect(rows.size).toBe(0));
  notice.close();
});

test("another time is another row", async () => {
  const { rows, state, notice } = world();
  await notice.tell();
  const [first] = rows;
  state.isEmpty = true;
  await eventually(async () => expect(rows.size).toBe(0));
  state.isEmpty = false;
  expect(await notice.tell()).toBe(true);
  expect([...rows]).not.toEqual([first]);
  notice.close();
});

test("a ledger that is away is told when it is back", async () => {
  const { rows, state, notice } = world();
  state.isAway = true;
  expect(await notice.tell()).toBe(false);
  state.isAway = false;
  await eventually(async () => expect(rows.size).toBe(1));
  expect(await notice.tell()).toBe(true);
  notice.close();
});

test("what a killed run said is over when the next one has shipped all it left, and not before", async () => {
  const { rows, state, start, notice } = world();
  await notice.tell();
  const first = [...rows][0] as string;
  notice.close();
  rows.add("another node's");
  const next = start();
  await eventually(async () => expect(rows.size).toBe(3));
  expect([...rows]).toContain(first);
  state.isEmpty = true;
  await eventually(async () => expect([...rows]).toEqual(["another node's"]));
  await eventually(async () => expect(state.names).toEqual([]));
  next.close();
});

test("a removal that fails is made later, and leaves alone what was told meanwhile", async () => {
  const { rows, state, notice } = world();
  await notice.tell();
  const first = [...rows][0] as string;
  state.isAway = true;
  state.isEmpty = true;
  await Bun.sleep(250);
  expect([...rows]).toEqual([first]);
  state.isEmpty = false;
  state.isAway = false;
  expect(await notice.tell()).toBe(true);
  const second = [...rows].find((id) => id !== first) as string;
  expect(state.names).toEqual([first, second]);
  state.isEmpty = true;
  await eventually(async () => expect(rows.size).toBe(0));
  notice.close();
});
