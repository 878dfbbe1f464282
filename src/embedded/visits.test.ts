import { describe, expect, test } from "bun:test";
import { dayOf } from "../arithmetic/days.ts";
import { SketchBoard } from "../distinct/board.ts";
import { codeOf } from "../distinct/code.ts";
import { Sketch } from "../distinct/sketch.ts";
import { ALL_TIME } from "../distinct/sketches.ts";
import { rankIn, type Visit, Visits } from "./visits.ts";

const MIDNIGHT = Date.UTC(2027, 0, 1);

/** The sketches of a writer whose ledger has everything up to `applied`, by a clock that can be set. */
function world({ bytesMax = 10_000_000 } = {}) {
  const rows = new Map<string, Sketch>();
  const board = new SketchBoard(SketchBoard.allocate());
  const clock = { ms: MIDNIGHT - 1 };
  const log = { head: 0, applied: 0 };
  const sketch = (metric: number, subject: string, day: number) => {
    const row = rows.get(`${metric} ${subject} ${day}`);
    return row ? Sketch.decode(row.encode()) : null;
  };
  const visits = new Visits({
    ledger: { sketch },
    applied: () => log.applied,
    board,
    now: () => clock.ms,
    bytesMax,
  });
  /** What the projector does with the record. */
  const store = ({ pair, code, atMs }: Visit) => {
    for (const day of [ALL_TIME, dayOf(atMs)]) {
      const key = `${pair.name.metric} ${pair.name.subject} ${day}`;
      const row = rows.get(key) ?? new Sketch();
      row.add(code);
      rows.set(key, row);
    }
    log.applied = log.head;
  };
  const visit = (actor: string, { subject = "article/1", atMs }: { subject?: string; atMs?: number } = {}) => {
    visits.begin();
    const visit = visits.decide(1, subject, codeOf(actor), atMs);
    if (!visit) return null;
    if (visit.isNew) log.head++;
    visits.publish(visit, log.head);
    if (visit.isNew) store(visit);
    return visit;
  };
  const count = (subject = "article/1") => {
    visits.begin();
    return visits.count(1, subject);
  };
  return { visits, visit, count, clock, log, rows, board };
}

describe("the writer's sketches", () => {
  test("are asked for a record only where a sketch changes", () => {
    const { visit, count } = world();
    expect(visit("7")?.isNew).toBe(true);
    expect(visit("7")?.isNew).toBe(false);
    expect(visit("8")?.isNew).toBe(true);
    expect(count()).toEqual({ today: 2, all: 2 });
  });

  test("begin a new day at midnight UTC, when everyone counts once more, and go on with all time", () => {
    const { visit, count, clock } = world();
    for (const actor of ["a", "b", "c"]) visit(actor);
    expect(count()).toEqual({ today: 3, all: 3 });
    clock.ms = MIDNIGHT;
    expect(count()).toEqual({ today: 0, all: 3 });
    expect(visit("a")?.isNew).toBe(true);
    expect(visit("d")?.isNew).toBe(true);
    expect(visit("a")?.isNew).toBe(false);
    expect(count()).toEqual({ today: 2, all: 4 });
    // A clock that is set back shows the day before as it was.
    clock.ms = MIDNIGHT - 1;
    expect(count()).toEqual({ today: 3, all: 4 });
    clock.ms = MIDNIGHT + 30 * 86_400_000;
    expect(count()).toEqual({ today: 0, all: 4 });
  });

  test("put a visit with its own time into all time, and into today only if it was today", () => {
    const { visit, count, clock } = world();
    clock.ms = MIDNIGHT + 5_000;
    visit("a", { atMs: MIDNIGHT - 1 });
    expect(count()).toEqual({ today: 0, all: 1 });
    expect(visit("a", { atMs: MIDNIGHT })?.isNew).toBe(true);
    expect(count()).toEqual({ today: 1, all: 1 });
    expect(visit("a", { atMs: Date.UTC(2001, 0, 1) })?.isNew).toBe(false);
  });

  test("show nobody who is not in the log: one who was decided on and not published", () => {
    const { visits, count } = world();
    visits.begin();
    expect(visits.decide(1, "article/1", codeOf("lost"))?.isNew).toBe(true);
    expect(count()).toEqual({ today: 0, all: 0 });
    expect(visits.decide(1, "article/1", codeOf("lost"))?.isNew).toBe(true);
  });

  test("come back from the ledger as they were, though memory holds a few only", () => {
    const { visit, count } = world({ bytesMax: 5_000 });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 50; i++) {
        for (let actor = 0; actor <= i % 4; actor++) {
          expect(visit(`${actor}`, { subject: `article/${i}` })?.isNew).toBe(round === 0);
        }
      }
    }
    for (let i = 0; i < 50; i++) expect(count(`article/${i}`)).toEqual({ today: (i % 4) + 1, all: (i % 4) + 1 });
  });

  test("refuse what does not fit while the ledger is behind, and take it again later", () => {
    const { visits, log } = world({ bytesMax: 2_500 });
    const visit = (i: number) => {
      visits.begin();
      const visit = visits.decide(1, `article/${i}`, codeOf("a"));
      if (visit) visits.publish(visit, ++log.head);
      return visit;
    };
    let taken = 0;
    while (taken < 100 && visit(taken)) taken++;
    expect(taken).toBeWithin(3, 5);
    visits.begin();
    expect(visits.count(1, "article/99")).toBeNull();
    log.applied = log.head;
    expect(visit(99)).not.toBeNull();
  });

  test("are forgotten together with what request threads know", () => {
    const { visits, visit, count, rows, board } = world();
    visit("a");
    rows.clear();
    visits.forget("article/1");
    expect(count()).toEqual({ today: 0, all: 0 });
    expect(board.epoch).toBe(1);
  });

  test("tell a register's rank only where both sketches are dense", () => {
    const { visit, clock } = world();
    for (let i = 0; i < 3_200; i++) visit(`v${i}`);
    expect(rankIn(visit("v1") as Visit)).toBeGreaterThan(0);
    clock.ms = MIDNIGHT;
    expect(rankIn(visit("v1") as Visit)).toBe(0);
  });
});
