import { describe, expect, test } from "bun:test";
import { dayOf } from "../arithmetic/days.ts";
import { codeOf } from "./code.ts";
import { Sketch } from "./sketch.ts";
import { distinctOf, hasSeen, type Pair, Sketches } from "./sketches.ts";

const DAY = 20_000;
const NOTHING = { today: null, all: null };

function sketchOf(...visitors: string[]): Sketch {
  const sketch = new Sketch();
  for (const visitor of visitors) sketch.add(codeOf(visitor));
  return sketch;
}

function opened({ bytesMax = 1_000_000, applied = (): number => 0 } = {}): Sketches {
  const sketches = new Sketches({ bytesMax, applied });
  sketches.beginRound();
  return sketches;
}

describe("sketches in memory", () => {
  test("count today and all time", () => {
    const sketches = opened();
    const name = { metric: 1, subject: "article/1" };
    expect(sketches.find(name, DAY)).toBeNull();
    const pair = sketches.install(name, DAY, { today: null, all: sketchOf("a", "b") }) as Pair;
    expect(distinctOf(pair)).toEqual({ today: 0, all: 2 });
    for (const visitor of ["b", "c", "c"]) sketches.add(pair, codeOf(visitor), DAY, 10);
    expect(distinctOf(pair)).toEqual({ today: 2, all: 3 });
    expect(hasSeen(pair, codeOf("c"), DAY)).toBe(true);
    expect(hasSeen(pair, codeOf("a"), DAY)).toBe(false);
    // Of another day only all time can say something.
    expect(hasSeen(pair, codeOf("a"), DAY - 1)).toBe(true);
  });

  test("begin a day anew, with what the ledger has of it", () => {
    const sketches = opened();
    const name = { metric: 1, subject: "article/1" };
    const pair = sketches.install(name, DAY, NOTHING) as Pair;
    sketches.add(pair, codeOf("a"), DAY, 10);
    expect(sketches.find(name, DAY + 1)).toBeNull();
    const next = sketches.install(name, DAY + 1, { today: sketchOf("x"), all: sketchOf("x", "y") }) as Pair;
    expect(distinctOf(next)).toEqual({ today: 1, all: 3 });
    expect(sketches.find(name, DAY)).toBeNull();
  });

  test("leave when the ledger has them, the one that was asked for least recently first", () => {
    let applied = 0;
    const sketches = opened({ bytesMax: 3_000, applied: () => applied });
    const nameOf = (i: number) => ({ metric: 1, subject: `article/${i}` });
    for (let i = 0; i < 4; i++) {
      const pair = sketches.install(nameOf(i), DAY, NOTHING) as Pair;
      sketches.add(pair, codeOf("a"), DAY, i + 1);
    }
    sketches.beginRound();
    expect(sketches.find(nameOf(0), DAY)).not.toBeNull();
    sketches.beginRound();
    expect(sketches.install(nameOf(9), DAY, NOTHING)).toBeNull(); // the ledger has none of them yet
    applied = 3;
    expect(sketches.install(nameOf(9), DAY, NOTHING)).not.toBeNull();
    expect([0, 1, 2, 3, 9].map((i) => sketches.find(nameOf(i), DAY) !== null)).toEqual([true, false, true, true, true]);
    expect(sketches.bytes).toBeLessThanOrEqual(3_000);
  });

  test("stay for as long as the round in which they were asked for", () => {
    const sketches = opened({ bytesMax: 1_300 });
    const [a, b, c] = ["a", "b", "c"].map((subject) => ({ metric: 1, subject: `article/${subject}` }));
    expect(sketches.install(a as never, DAY, NOTHING)).not.toBeNull();
    expect(sketches.install(b as never, DAY, NOTHING)).not.toBeNull();
    expect(sketches.install(c as never, DAY, NOTHING)).toBeNull();
    sketches.beginRound();
    expect(sketches.install(c as never, DAY, NOTHING)).not.toBeNull();
    expect(sketches.size).toBe(2);
  });

  test("say what they take, whatever comes and goes", () => {
    const sketches = opened({ bytesMax: 100_000 });
    for (let i = 0; i < 20; i++) {
      sketches.beginRound();
      const name = { metric: 1, subject: `article/${i}` };
      const pair = sketches.install(name, DAY, NOTHING) as Pair;
      for (let visitor = 0; visitor < 4_000; visitor += 1 + i) sketches.add(pair, codeOf(`${visitor}`), DAY, 0);
      if (i % 5 === 4) sketches.forget(name);
    }
    expect(sketches.bytes).toBeGreaterThan(0);
    for (let i = 0; i < 20; i++) sketches.forget({ metric: 1, subject: `article/${i}` });
    expect(sketches.bytes).toBe(0);
  });

  test("know the UTC day", () => {
    expect(dayOf(Date.parse("2026-12-31T23:59:59.999Z")) + 1).toBe(dayOf(Date.parse("2027-01-01T00:00:00Z")));
  });
});
