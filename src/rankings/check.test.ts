import { expect, test } from "bun:test";
import { MemorySteps } from "../../test/support/memory-steps.ts";
import { HOUR_S } from "../arithmetic/windows.ts";
import { checkSteps, correctionsOf } from "./check.ts";
import { Ranker } from "./ranker.ts";

const NOW_S = Date.UTC(2026, 10, 22, 12, 30) / 1000;
const HOUR = NOW_S - (NOW_S % HOUR_S);
const OPTIONS = { candidates: 1000, halfLifeS: 3_600, unaskedMax: 1_000 };

/** Views of 200 subjects in the last three hours: of the last one among the changes, of the others in steps. */
async function filled(): Promise<MemorySteps> {
  const steps = new MemorySteps();
  const commit = (second: number) =>
    steps.commit(
      Array.from({ length: 200 }, (_, i) => ({
        metric: 1,
        at: second,
        subject: `article/${i}😀`,
        amount: 1 + (i % 3),
      })),
    );
  const ranker = new Ranker(steps, OPTIONS);
  for (let ago = 2; ago > 0; ago--) {
    commit(HOUR - ago * HOUR_S);
    await ranker.step(HOUR - ago * HOUR_S + 10, true);
    await ranker.step(HOUR - ago * HOUR_S + 70, true);
  }
  commit(HOUR);
  return steps;
}

const check = async (steps: MemorySteps, namesMax?: number) => {
  const { broken, differences } = await checkSteps(steps.kept, NOW_S * 1000, namesMax);
  expect(broken).toEqual([]);
  return differences;
};

test("nothing differs, also of what was erased and merged since its step", async () => {
  const steps = await filled();
  steps.become("article/7😀", "");
  steps.become("article/8😀", "article/9😀");
  steps.become("article/9😀", "user/1");
  expect(await check(steps)).toEqual([]);
  await new Ranker(steps, OPTIONS).step(NOW_S, true);
  expect(await check(steps)).toEqual([]);
});

test("each difference is named with its hour, however few are looked at in one go, and mended", async () => {
  const steps = await filled();
  const [lost, more] = ["article/7😀", "article/100😀"];
  steps.history = steps.history.map((row) => {
    return row.subject === lost && row.at === HOUR - HOUR_S ? { ...row, amount: 10 } : row;
  });
  // The sums over all subjects are the same.
  steps.history = steps.history.map((row) => {
    return row.subject === more && row.at === HOUR - HOUR_S ? { ...row, amount: row.amount - 8 } : row;
  });
  steps.history.push({ metric: 2, subject: "user/x", at: HOUR, amount: 4 });
  const expected = [
    { metric: 1, subject: more, at: HOUR - HOUR_S, found: 2, expected: -6 },
    { metric: 1, subject: lost, at: HOUR - HOUR_S, found: 2, expected: 10 },
    { metric: 2, subject: "user/x", at: HOUR, found: 0, expected: 4 },
  ];
  for (const namesMax of [undefined, 150, 30]) {
    const found = await check(steps, namesMax);
    expect(found.sort((a, b) => a.metric - b.metric || (a.subject < b.subject ? -1 : 1))).toEqual(expected);
  }
  const corrections = correctionsOf(expected);
  expect(corrections.length).toBe(2);
  steps.save(corrections, []);
  expect(await check(steps)).toEqual([]);
});

test("nothing is said of hours that the history has put before all hours", async () => {
  const steps = await filled();
  const fold = (subject: string) => {
    const at = (row: { at: number }) => (row.at === HOUR ? row.at : 0);
    const rows = steps.history.map((row) => (row.subject === subject ? { ...row, at: at(row) } : row));
    steps.history = rows.sort((a, b) => a.at - b.at);
  };
  fold("article/1😀");
  fold("article/2😀");
  expect(await check(steps)).toEqual([]);
  // Of an hour behind them it is, and of a subject that has nothing there.
  steps.history = steps.history.map((row) => {
    return row.subject === "article/1😀" && row.at === HOUR ? { ...row, amount: 9 } : row;
  });
  steps.history = steps.history.filter(({ subject, at }) => subject !== "article/3😀" || at === HOUR);
  const found = await check(steps);
  expect(found.map(({ subject, at, expected }) => [subject, at - HOUR, expected]).sort()).toEqual([
    ["article/1😀", 0, 9],
    ["article/3😀", -HOUR_S, 0],
    ["article/3😀", -2 * HOUR_S, 0],
  ]);
});

test("a frame that cannot be read is named, and what it held", async () => {
  const steps = await filled();
  steps.save([{ at: HOUR, frame: Buffer.from([1, 1, 2, 3]) }], []);
  const { broken, differences } = await checkSteps(steps.kept, NOW_S * 1000);
  expect([broken, differences]).toEqual([[{ table: "steps", id: steps.size }], []]);
});
