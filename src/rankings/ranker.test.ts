import { describe, expect, test } from "bun:test";
import { MemorySteps } from "../../test/support/memory-steps.ts";
import { type Random, random } from "../../test/support/random.ts";
import { rangeOf, WINDOWS } from "../arithmetic/windows.ts";
import { checkSteps } from "./check.ts";
import { type Asked, Ranker } from "./ranker.ts";

const TYPES = ["article", "user", "a"];
const HALF_LIFE_S = 3_600;
/** Some seconds before the year ends. */
const NEW_YEAR_S = Date.UTC(2027, 0, 1) / 1000 - 130;

interface Change {
  metric: number;
  at: number;
  subject: string;
  amount: number;
}

/** What the lists must be, from all changes there ever were. */
class Model {
  changes: Change[] = [];

  become(subject: string, other: string): void {
    if (other === "") this.changes = this.changes.filter((change) => change.subject !== subject);
    else
      this.changes = this.changes.map((change) =>
        change.subject === subject ? { ...change, subject: other } : change,
      );
  }

  sums(metric: number, window: string, second: number): Map<string, number> {
    const w = WINDOWS.indexOf(window as never);
    const { from, to } = rangeOf(w, second);
    const sums = new Map<string, number>();
    const minute = second - (second % 60);
    for (const change of this.changes) {
      if (change.metric !== metric) continue;
      if (window !== "all" && (change.at < from || change.at >= to || change.at > minute)) continue;
      const weight = window === "hot" ? 2 ** ((change.at - minute) / HALF_LIFE_S) : 1;
      sums.set(change.subject, (sums.get(change.subject) ?? 0) + change.amount * weight);
    }
    return sums;
  }

  top(metric: number, type: string, window: string, second: number, limit: number) {
    return [...this.sums(metric, window, second)]
      .filter(([subject, value]) => subject.startsWith(`${type}/`) && value > 1e-9)
      .sort((a, b) => b[1] - a[1] || Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0])))
      .slice(0, limit)
      .map(([subject, value]) => ({ subject, value }));
  }
}

const ASKED: (Asked & { name: string })[] = [1, 3].flatMap((metric) =>
  TYPES.flatMap((type) => WINDOWS.map((name, window) => ({ metric, type, window, name }))),
);

function changeAt(second: number, { below, chance, pick }: Random, subjects: string[]): Change {
  const minute = second - (second % 60);
  const ago = chance(0.9) ? 60 * below(2) : chance(0.5) ? 60 * below(90) : 3600 * below(24 * 32);
  const metric = pick([1, 3]);
  return {
    metric,
    at: minute - ago,
    subject: pick(subjects),
    amount: metric === 1 ? 1 + below(300) : pick([1, 1, -1]),
  };
}

async function follow(
  seed: number,
  rounds: number,
  options: { jumps: boolean; renames: boolean; rests?: boolean },
): Promise<number> {
  const source = random(seed);
  const { below, chance, pick } = source;
  const ids = ["1", "2", "10", "é", "e\u0301", "😀", "\uffff", "__proto__", "b/c", "z".repeat(100), "%2F"];
  const subjects = TYPES.flatMap((type) => ids.map((id) => `${type}/${id}`));
  const steps = new MemorySteps();
  const model = new Model();
  const rankings = { candidates: 1000, halfLifeS: HALF_LIFE_S, unaskedMax: options.rests ? 20 : 1000 };
  let ranker = new Ranker(steps, rankings);
  let second = NEW_YEAR_S;
  let rests = 0;
  for (let round = 0; round < rounds; round++) {
    const changes = Array.from({ length: below(12) }, () => changeAt(second, source, subjects));
    steps.commit(changes);
    model.changes.push(...changes);
    if (options.renames && chance(0.05)) {
      const [subject, other] = [pick(subjects), chance(0.5) ? "" : pick(subjects)];
      if (subject !== other) {
        steps.become(subject, other);
        model.become(subject, other);
      }
    }
    const isWanted = !options.rests || round % 20 < 5;
    await ranker.step(second, isWanted);
    for (let left = below(4); left > 0; left--) await ranker.tend();
    if (chance(0.02)) ranker = new Ranker(steps, rankings);
    await ranker.step(second, isWanted);
    if (ranker.isResting) rests++;
    else if (round % 5 === 0) compare(ranker, model, second);
    if (round % 200 === 0) expect(await checkSteps(steps.kept, second * 1000)).toEqual({ broken: [], differences: [] });
    second += chance(0.8) ? below(40) : options.jumps && chance(0.1) ? below(30_000) : below(2_000);
  }
  return rests;
}

function compare(ranker: Ranker, model: Model, second: number): void {
  const lists = ranker.top(ASKED, 5);
  for (const [i, { metric, type, name }] of ASKED.entries()) {
    const { items, error, ...range } = lists[i] as (typeof lists)[number];
    const expected = model.top(metric, type, name, second, 5);
    expect([name, range, error]).toEqual([name, rangeOf(WINDOWS.indexOf(name as never), second), 0]);
    if (name !== "hot") {
      expect([name, type, items]).toEqual([name, type, expected]);
      continue;
    }
    for (const [place, { value }] of expected.entries()) {
      expect(Math.abs((items[place]?.value ?? 0) / value - 1)).toBeLessThan(0.02);
    }
  }
}

/** Whether each value, listed or not, is right but for the error. */
function compareRoughly(ranker: Ranker, model: Model, second: number): { exact: number; rough: number } {
  const found = { exact: 0, rough: 0 };
  const lists = ranker.top(ASKED, 5);
  for (const [i, { metric, type, name }] of ASKED.entries()) {
    const { items, error } = lists[i] as (typeof lists)[number];
    const sums = model.sums(metric, name, second);
    const listed = new Map(items.map(({ subject, value }) => [subject, value]));
    const lowest = items.length < 5 ? 0 : Math.min(...listed.values());
    const slack = name === "hot" ? 0.05 * Math.max(...sums.values(), 1) : 0;
    for (const [subject, value] of listed) {
      expect([name, subject, Math.abs(value - (sums.get(subject) ?? 0)) <= error + slack]).toEqual([
        name,
        subject,
        true,
      ]);
    }
    for (const [subject, value] of sums) {
      if (!subject.startsWith(`${type}/`) || listed.has(subject)) continue;
      expect([name, subject, value, value <= lowest + error + slack]).toEqual([name, subject, value, true]);
    }
    if (error === 0) found.exact++;
    else found.rough++;
  }
  return found;
}

async function followTooMany(seed: number): Promise<{ exact: number; rough: number }> {
  const source = random(seed);
  const { below, chance } = source;
  const steps = new MemorySteps();
  const model = new Model();
  const rankings = { candidates: 40, halfLifeS: HALF_LIFE_S, unaskedMax: 0 };
  const ranker = new Ranker(steps, rankings);
  let second = NEW_YEAR_S;
  const total = { exact: 0, rough: 0 };
  for (let round = 0; round < 300; round++) {
    const isCrowded = Math.floor(round / 60) % 2 === 1;
    const subjects = Array.from({ length: isCrowded ? 200 : 12 }, (_, i) => `${TYPES[i % 3]}/n${i}`);
    const changes = Array.from({ length: below(40) }, () => {
      const change = changeAt(second, source, subjects);
      const place = Math.floor(subjects.length * (below(1000) / 1000) ** 3);
      return { ...change, subject: subjects[place] as string };
    });
    steps.commit(changes);
    model.changes.push(...changes);
    await ranker.step(second, true);
    for (let left = below(4); left > 0; left--) await ranker.tend();
    await ranker.step(second, true);
    if (round % 3 === 0) {
      const { exact, rough } = compareRoughly(ranker, model, second);
      total.exact += exact;
      total.rough += rough;
    }
    second += chance(0.7) ? below(40) : below(7_000);
  }
  return total;
}

describe("rankings", () => {
  test.each([21, 22, 23, 24])(
    "of more subjects than are followed are off by the error at most (seed %i)",
    async (seed) => {
      const { exact, rough } = await followTooMany(seed);
      expect(rough).toBeGreaterThan(100);
      expect(exact).toBeGreaterThan(100);
    },
  );

  test("are exact up to as many subjects as are followed, and not beyond; and again when these have left", async () => {
    const steps = new MemorySteps();
    const ranker = new Ranker(steps, { candidates: 1_000, halfLifeS: HALF_LIFE_S, unaskedMax: 0 });
    const view = (i: number) => ({
      metric: 1,
      at: NEW_YEAR_S - (NEW_YEAR_S % 60),
      subject: `a/${i}`,
      amount: 1 + (i % 9),
    });
    const errors = () =>
      ranker
        .top(
          WINDOWS.map((_, window) => ({ metric: 1, type: "a", window })),
          5,
        )
        .map((it) => it.error);
    await ranker.step(NEW_YEAR_S, true);
    steps.commit(Array.from({ length: 1_000 }, (_, i) => view(i)));
    await ranker.step(NEW_YEAR_S + 1, true);
    expect(errors()).toEqual([0, 0, 0, 0, 0, 0]);
    steps.commit(Array.from({ length: 500 }, (_, i) => view(1_000 + i)));
    await ranker.step(NEW_YEAR_S + 2, true);
    for (const error of errors()) expect(error).toBeGreaterThan(0);
    await ranker.step(NEW_YEAR_S + 3_000, true);
    for (const error of errors()) expect(error).toBeGreaterThan(0);
    await ranker.step(NEW_YEAR_S + 3_601, true);
    expect(errors().map((error) => error > 0)).toEqual([false, true, true, true, true, true]);
  });

  test.each([1, 2, 3, 4, 5, 6])("are as in a model, over the end of a year (seed %i)", async (seed) => {
    await follow(seed, 400, { jumps: false, renames: false });
  });

  test.each([11, 12, 13])("are so when the clock leaps and subjects are erased or merged (seed %i)", async (seed) => {
    await follow(seed, 400, { jumps: true, renames: true });
  });

  test.each([31, 32, 33, 34])("are so after rests, in which nobody asks (seed %i)", async (seed) => {
    expect(await follow(seed, 400, { jumps: true, renames: true, rests: true })).toBeGreaterThan(50);
  });

  test("that nobody asks for rest once they are large, also in the middle of a beginning", async () => {
    const steps = new MemorySteps();
    const options = { candidates: 1_000, halfLifeS: HALF_LIFE_S, unaskedMax: 4_000 };
    const asked = [{ metric: 1, type: "a", window: WINDOWS.indexOf("all") }];
    const ranker = new Ranker(steps, options);
    const viewed = (count: number) =>
      steps.commit(
        Array.from({ length: count }, (_, i) => ({ metric: i % 5, at: 0, subject: `a/${i}`, amount: 1 + i })),
      );
    viewed(1_000);
    await ranker.step(NEW_YEAR_S, false);
    expect(ranker.isResting).toBe(false);
    viewed(6_000);
    await ranker.step(NEW_YEAR_S + 1, false);
    expect(ranker.isResting).toBe(true);
    expect(() => ranker.top(asked, 1)).toThrow();
    const next = new Ranker(steps, options);
    await next.step(NEW_YEAR_S + 2, false);
    expect(next.isResting).toBe(true);
    await next.step(NEW_YEAR_S + 3, true);
    expect(next.top(asked, 1)[0]?.items).toEqual([{ subject: "a/5996", value: 5_997 }]);
  });
});
