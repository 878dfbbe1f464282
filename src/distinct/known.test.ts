import { describe, expect, test } from "bun:test";
import { SketchBoard } from "./board.ts";
import { codeOf, codeOfRegister, rankOf, registerOf } from "./code.ts";
import { Known, type Visit } from "./known.ts";

const board = new SketchBoard(SketchBoard.allocate());

function visitOf(known: Known, change: Partial<Visit> = {}): Visit {
  return { metric: 1, day: 20_000, subject: "article/1", code: codeOf("7"), epoch: known.epoch, ...change };
}

describe("a request thread's memory of visitors", () => {
  test("knows whom it was told of, and nobody else", () => {
    const known = new Known(board);
    const visit = visitOf(known);
    expect(known.has(visit)).toBe(false);
    known.note(visit, 0);
    expect(known.has(visit)).toBe(true);
    for (const other of [{ metric: 2 }, { day: 20_001 }, { subject: "article/2" }, { subject: "" }, { code: 1 << 6 }]) {
      expect(known.has(visitOf(known, other))).toBe(false);
    }
  });

  test("of dense sketches knows everyone below a register's rank", () => {
    const known = new Known(board);
    const code = codeOfRegister(77, 3);
    known.note(visitOf(known, { code }), 5);
    for (let rank = 1; rank <= 51; rank++) {
      expect(known.has(visitOf(known, { code: codeOfRegister(77, rank) }))).toBe(rank <= 5);
      expect(known.has(visitOf(known, { code: codeOfRegister(78, rank) }))).toBe(false);
    }
    expect([registerOf(code), rankOf(code)]).toEqual([77, 3]);
  });

  test("forgets when sketches are emptied, and does not learn what was asked before", () => {
    const known = new Known(board);
    const visit = visitOf(known);
    known.note(visit, 0);
    board.beginEpoch();
    expect(known.has(visit)).toBe(false);
    known.note(visit, 0);
    expect(known.has(visit)).toBe(false);
    const again = visitOf(known);
    known.note(again, 0);
    expect(known.has(again)).toBe(true);
  });

  test("forgets everybody when its time is over, where it has one", () => {
    const clock = { ms: 0 };
    const known = new Known(board, 60_000, () => clock.ms);
    known.note(visitOf(known), 0);
    clock.ms = 59_999;
    expect(known.has(visitOf(known))).toBe(true);
    clock.ms = 60_000;
    expect(known.has(visitOf(known))).toBe(false);
    known.note(visitOf(known), 0);
    expect(known.has(visitOf(known))).toBe(true);
  });

  test("never takes one visitor for another, and keeps most of as many as it has places", () => {
    const known = new Known(board);
    for (let i = 0; i < 30_000; i++) {
      const visit = visitOf(known, { subject: `article/${i % 300}`, code: codeOf(String(i)) });
      expect(known.has(visit)).toBe(false);
      known.note(visit, 0);
      expect(known.has(visit)).toBe(true);
    }
    let kept = 0;
    for (let i = 0; i < 30_000; i++) {
      if (known.has(visitOf(known, { subject: `article/${i % 300}`, code: codeOf(String(i)) }))) kept++;
    }
    expect(kept).toBeGreaterThan(22_000);
    expect(known.has(visitOf(known, { subject: "article/300", code: codeOf("1") }))).toBe(false);
  });
});
