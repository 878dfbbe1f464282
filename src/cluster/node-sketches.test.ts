import { describe, expect, test } from "bun:test";
import { SketchBoard } from "../distinct/board.ts";
import { codeOf } from "../distinct/code.ts";
import { Sketch } from "../distinct/sketch.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { NodeSketches } from "./node-sketches.ts";

const NAME = { metric: 1, subject: "article/1" };
const DAY = 20_000;
const AGE_MS = 100;

/** A node, its outbox, and a ledger that others write too. */
function world({ bytesMax = 10_000_000, inheritsUpTo = 0 } = {}) {
  const rows = new Map<string, Sketch>();
  const state = { ms: 1_000, head: 0, applied: 0, isAway: false, reads: 0 };
  const outbox: { key: string; actor: string; day: number; end: number }[] = [];
  const board = new SketchBoard(SketchBoard.allocate());
  const row = (key: string): Sketch | null => {
    const stored = rows.get(key);
    return stored ? Sketch.decode(stored.encode()) : null;
  };
  const sketches = new NodeSketches({
    ledger: {
      async sketches(names) {
        state.reads++;
        if (state.isAway) throw new LedgerUnavailable("away");
        return names.map(({ metric, subject, day }) => {
          return { today: row(`${metric} ${subject} ${day}`), all: row(`${metric} ${subject} 0`) };
        });
      },
    },
    applied: () => state.applied,
    board,
    ageMsMax: AGE_MS,
    now: () => state.ms,
    bytesMax,
    inheritsUpTo,
  });
  const store = (key: string, actor: string, day: number) => {
    for (const each of [0, day]) {
      const sketch = rows.get(`${key} ${each}`) ?? new Sketch();
      sketch.add(codeOf(actor));
      rows.set(`${key} ${each}`, sketch);
    }
  };
  return {
    state,
    rows,
    board,
    /** What another node has brought into the ledger. */
    other: (actor: string, day = DAY, subject = "article/1") => store(`1 ${subject}`, actor, day),
    /** True where it became a record. */
    async visit(
      actor: string,
      { today = DAY, day = today, subject = "article/1" }: { today?: number; day?: number; subject?: string } = {},
    ): Promise<boolean> {
      const name = { metric: 1, subject };
      await sketches.prepare(name, today);
      if (sketches.visitor(name, day, codeOf(actor)).isKnown) return false;
      outbox.push({ key: `1 ${subject}`, actor, day, end: ++state.head });
      sketches.logged(name, today, { code: codeOf(actor), day }, state.head);
      return true;
    },
    /** An earlier run left him in the outbox. */
    left(
      actor: string,
      { today = DAY, day = today, subject = "article/1" }: { today?: number; day?: number; subject?: string } = {},
    ): void {
      outbox.push({ key: `1 ${subject}`, actor, day, end: ++state.head });
      sketches.logged({ metric: 1, subject }, today, { code: codeOf(actor), day }, state.head);
    },
    /** The ledger gets so many records of the outbox. */
    project(count = outbox.length): void {
      for (const { key, actor, day, end } of outbox.splice(0, count)) {
        store(key, actor, day);
        state.applied = end;
      }
    },
    count: (day = DAY, subject = "article/1") => sketches.count({ metric: 1, subject }, day),
    sketches,
  };
}

describe("a node's sketches", () => {
  test("show what the ledger has and what this node has on its way to it", async () => {
    const { visit, count, other, project, state } = world();
    other("a");
    expect(await visit("a")).toBe(false);
    expect(await visit("b")).toBe(true);
    expect(await visit("b")).toBe(false);
    expect(await count()).toEqual({ today: 2, all: 2 });
    other("c");
    expect(await count()).toEqual({ today: 2, all: 2 });
    state.ms += AGE_MS;
    expect(await count()).toEqual({ today: 3, all: 3 });
    for (let i = 0; i < 10; i++) {
      await visit(`own ${i}`);
      if (i % 3 === 0) project();
      state.ms += AGE_MS;
      expect(await count()).toEqual({ today: 4 + i, all: 4 + i });
    }
  });

  test("read the ledger once for all who ask, and not again before it may be old", async () => {
    const { count, state } = world();
    await Promise.all(Array.from({ length: 20 }, () => count()));
    for (let i = 0; i < 20; i++) await count();
    expect(state.reads).toBe(1);
    await Promise.all(Array.from({ length: 200 }, (_, i) => count(DAY, `article/${i + 2}`)));
    expect(state.reads).toBe(2);
  });

  test("let go of what the ledger has: an erased subject begins anew, and nobody is taken for known", async () => {
    const { visit, count, project, rows, state, board } = world();
    for (const actor of ["a", "b", "c"]) await visit(actor);
    project();
    for (let i = 0; i < 3; i++) {
      state.ms += AGE_MS;
      expect((await count())?.all).toBe(3);
    }
    expect(board.epoch).toBe(0);
    rows.clear();
    await visit("late");
    state.ms += AGE_MS;
    expect(await count()).toEqual({ today: 1, all: 1 });
    expect(board.epoch).toBe(1);
    expect(await visit("a")).toBe(true);
    project();
    state.ms += AGE_MS;
    expect(await count()).toEqual({ today: 2, all: 2 });
  });

  test("let go of it within a minute, though nobody looks: whoever comes back then counts", async () => {
    const { visit, project, rows, state } = world();
    await visit("a");
    project();
    state.ms += AGE_MS;
    await visit("b");
    project();
    rows.clear();
    expect(await visit("a")).toBe(false);
    state.ms += 60_000;
    expect(await visit("a")).toBe(true);
  });

  test("begin a day anew at midnight, with what is on its way for it", async () => {
    const { visit, count, other, project, state } = world();
    await visit("a");
    await visit("b");
    other("c", DAY + 1);
    expect(await count(DAY + 1)).toEqual({ today: 1, all: 3 });
    expect(await visit("a", { today: DAY + 1 })).toBe(true);
    state.ms += AGE_MS;
    expect(await count(DAY + 1)).toEqual({ today: 2, all: 3 });
    project();
    state.ms += AGE_MS;
    expect(await count(DAY + 1)).toEqual({ today: 2, all: 3 });
    expect(await visit("d", { today: DAY + 1, day: DAY - 5 })).toBe(true);
    expect(await count(DAY + 1)).toEqual({ today: 2, all: 4 });
  });

  test("while the ledger is away take everybody, and tell only what was known", async () => {
    const { visit, count, other, project, state } = world();
    other("a");
    await visit("b");
    state.isAway = true;
    expect(await visit("b")).toBe(false);
    expect(await visit("c")).toBe(true);
    state.ms += AGE_MS;
    expect(await count()).toEqual({ today: 3, all: 3 });
    expect(await visit("x", { subject: "article/2" })).toBe(true);
    expect(await visit("x", { subject: "article/2" })).toBe(false);
    expect(await count(DAY, "article/2")).toBeNull();
    // Nothing is known of the new day.
    expect(await count(DAY + 1)).toBeNull();
    expect(await visit("b", { today: DAY + 1 })).toBe(true);
    expect(await count(DAY + 1)).toBeNull();
    state.isAway = false;
    project();
    expect(await count(DAY, "article/2")).toEqual({ today: 1, all: 1 });
    expect(await count(DAY + 1)).toEqual({ today: 1, all: 3 });
  });

  test("tell nothing before they have whom an earlier run left, and then all of them", async () => {
    const { visit, count, left, other, sketches, project, state } = world({ inheritsUpTo: 3 });
    other("a");
    expect(await count()).toBeNull();
    left("b");
    left("c", { day: DAY - 1 });
    expect(await visit("d")).toBe(true);
    expect(await count()).toBeNull();
    sketches.inherited();
    expect(await count()).toEqual({ today: 3, all: 4 });
    expect(await visit("b")).toBe(false);
    project();
    state.ms += AGE_MS;
    expect(await count()).toEqual({ today: 3, all: 4 });
  });

  test("do not take for whole what was read before they had inherited", async () => {
    const { count, other, sketches, visit } = world({ inheritsUpTo: 1 });
    await visit("a");
    // The ledger has got whom it lacked when it was read.
    other("b");
    sketches.inherited();
    expect(await count()).toEqual({ today: 2, all: 2 });
  });

  test("have a visitor of the last moment before midnight, when it is over", async () => {
    const { count, left } = world();
    left("a");
    left("b", { today: DAY + 1, day: DAY });
    expect(await count(DAY + 1)).toEqual({ today: 0, all: 2 });
  });

  test("tell nothing where there is no room for somebody whom the ledger has not", async () => {
    const { left, count, visit, project, state } = world({ bytesMax: 3_000 });
    for (let i = 0; i < 30; i++) left("a", { subject: `article/${i}` });
    expect(await count(DAY, "article/0")).toEqual({ today: 1, all: 1 });
    expect(await count(DAY, "article/29")).toBeNull();
    // Now there is room, but not for everybody who came.
    project(20);
    expect(await visit("b", { subject: "article/29" })).toBe(true);
    expect(await count(DAY, "article/29")).toBeNull();
    project();
    state.ms += AGE_MS;
    expect(await count(DAY, "article/29")).toEqual({ today: 2, all: 2 });
  });

  test("refuse nobody where there is no room, and read what they cannot keep", async () => {
    const { visit, count, project, other, state } = world({ bytesMax: 3_000 });
    for (let i = 0; i < 30; i++) expect(await visit("a", { subject: `article/${i}` })).toBe(true);
    project();
    other("b", DAY, "article/29");
    state.ms += AGE_MS;
    for (let i = 0; i < 30; i++) {
      expect(await count(DAY, `article/${i}`)).toEqual(i === 29 ? { today: 2, all: 2 } : { today: 1, all: 1 });
    }
    expect(await visit("a", { subject: "article/3" })).toBe(false);
  });

  test("say of whom a thread need not ask again", async () => {
    const { visit, sketches } = world();
    for (let i = 0; i < 3_200; i++) await visit(`v${i}`);
    expect(sketches.visitor(NAME, DAY, codeOf("v1"))).toMatchObject({ isKnown: true });
    expect(sketches.visitor(NAME, DAY, codeOf("v1")).rank).toBeGreaterThan(0);
    expect(sketches.visitor({ metric: 1, subject: "article/2" }, DAY, codeOf("v1"))).toEqual({
      isKnown: false,
      rank: 0,
    });
  });
});
