import { afterEach, describe, expect, test } from "bun:test";
import { dayOf } from "../../src/arithmetic/days.ts";
import { type Place, TOP } from "../../src/arithmetic/place.ts";
import { codeOf } from "../../src/distinct/code.ts";
import { Sketch } from "../../src/distinct/sketch.ts";
import { ALL_TIME } from "../../src/distinct/sketches.ts";
import { KEYS_MS } from "../../src/limits.ts";
import type { LedgerReader, StoredKey } from "../../src/ports/ledger.ts";
import type { CheckedSteps } from "../../src/rankings/check.ts";
import type { Frame } from "../../src/records.ts";
import { FOLLOWS, FrameSource, LedgerModel, LIKES, RELATIONS, SHARES, VIEWS } from "../support/ledger-model.ts";

type Awaitable<T> = T | Promise<T>;

/** A frame and the position behind it. */
export type PlacedFrame = [frame: Frame, next: number];

/** A ledger under test, empty at first. Small bounds make every rare path a common one. */
export interface LedgerWorld {
  writer: {
    position(): Awaitable<number>;
    last(source: string, shard: number): Awaitable<number>;
    /** Decides frames by their numbers, a gap as a loss, and stores them in one transaction. */
    apply(frames: readonly PlacedFrame[], nowMs: number): Promise<unknown>;
    /** The same of one frame, but something in it cannot be stored. */
    applySpoiled(frame: PlacedFrame, nowMs: number): Promise<unknown>;
    makeDurable(): Awaitable<number>;
    tidy(nowMs: number, isBusy: boolean): Awaitable<boolean>;
  };
  reader: LedgerReader;
  /** What `tally verify` says of the rankings' steps. */
  checkSteps(nowMs: number): Promise<CheckedSteps>;
  /** Closes everything and opens it again, as another process would. */
  reopen(): Promise<void>;
  close(): Promise<void>;
}

export type OpenWorld = (bounds: { segmentRows: number; totalsFrom: number; foldFrom: number }) => Promise<LedgerWorld>;

const NOW_MS = Date.UTC(2026, 10, 20, 12);
const METRICS = [VIEWS, SHARES, LIKES, FOLLOWS];

/** The promises of ports/ledger.ts, for any implementation. */
export function ledgerPort(name: string, open: OpenWorld, { hasJobs = false } = {}): void {
  describe(`the ledger: ${name}`, () => {
    let world: LedgerWorld;
    afterEach(() => world.close());

    async function put(frames: Frame[], from = 0): Promise<void> {
      await world.writer.apply(
        frames.map((frame, i) => [frame, from + i + 1]),
        NOW_MS,
      );
    }
    const like = (n: number, actor: string, stamp: number, subject = "article/1", metric = LIKES) =>
      ({ kind: "relation", shard: 1, n, metric, subject, actor, stamp }) as const;
    const view = (n: number, amount: number) =>
      ({
        kind: "tally",
        shard: 1,
        n,
        metric: VIEWS,
        subject: "article/1",
        amount,
        atMs: NOW_MS,
        slot: 0,
        notedAfter: 0,
      }) as const;
    const set = (n: number, count: number) =>
      ({ kind: "set", shard: 1, n, metric: VIEWS, subject: "article/1", count, atMs: NOW_MS }) as const;

    test("an empty one knows nothing, and says so", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      const { reader } = world;
      expect(await reader.position()).toBe(0);
      expect(await reader.count(VIEWS, "article/1")).toBe(0);
      expect(await reader.countsOf("article/1")).toEqual([]);
      expect(await reader.register(LIKES, "article/1", "7")).toBe(0);
      expect(await reader.registersOf("article/1", "7")).toEqual([]);
      expect(await reader.newestActors(LIKES, "article/1", TOP, 10)).toEqual([]);
      expect(await reader.newestSubjects(LIKES, "7", TOP, 10, "article")).toEqual([]);
      expect(await reader.actorCount(LIKES, "7")).toBe(0);
      expect(await reader.recentKeys(NOW_MS)).toEqual([]);
      expect(await reader.sources()).toEqual([]);
      expect((await reader.shards()).length).toBe(256);
    });

    test("a register keeps its highest stamp, and its count is the active ones", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      await put([{ source: "a", records: [like(1, "x", 11), like(2, "y", 15), like(3, "x", 14), like(4, "x", 12)] }]);
      expect(await world.reader.register(LIKES, "article/1", "x")).toBe(14);
      expect(await world.reader.count(LIKES, "article/1")).toBe(1);
      await put([{ source: "b", records: [like(1, "x", 13), like(2, "x", 17), like(3, "y", 18)] }], 1);
      expect(await world.reader.register(LIKES, "article/1", "x")).toBe(17);
      expect(await world.reader.newestActors(LIKES, "article/1", TOP, 10)).toEqual([{ id: "x", stamp: 17 }]);
      expect(await world.reader.count(LIKES, "article/1")).toBe(1);
    });

    test("what is delivered twice counts once, and a gap is recorded and passed", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      const frame: Frame = { source: "a", records: [view(1, 5), view(2, 6)] };
      await put([frame, frame]);
      await put([frame], 2);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(11);
      expect(await world.writer.last("a", 1)).toBe(2);
      await put([{ source: "a", records: [view(5, 1)] }], 3);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(12);
      expect(await world.reader.sources()).toEqual([{ source: "a", shard: 1, last: 5 }]);
    });

    test("sets apply in the log's order, among the amounts of one batch too", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      await put([{ source: "a", records: [view(1, 5), set(2, 100), view(3, 1), set(4, 50), view(5, 2)] }]);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(52);
      await put([{ source: "a", records: [set(6, 0)] }], 1);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(0);
    });

    test("sketches take visitors in, each once whatever comes twice, by day and for all time", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      const day = dayOf(NOW_MS);
      let n = 0;
      const visitor = (actor: string, { subject = "article/1", metric = VIEWS, atMs = NOW_MS } = {}) =>
        ({ kind: "visitor", shard: 1, n: ++n, metric, subject, code: codeOf(actor), atMs }) as const;
      const counts = async (subject = "article/1", metric = VIEWS) => {
        const sketches = [ALL_TIME, day, day - 1].map((of) => world.reader.sketch(metric, subject, of));
        return (await Promise.all(sketches)).map((sketch) => sketch?.count ?? null);
      };
      expect(await counts()).toEqual([null, null, null]);
      const records = ["a", "b", "a", "🎉"].map((actor) => visitor(actor));
      await put([{ source: "a", records }]);
      await put([{ source: "a", records }], 1);
      expect(await counts()).toEqual([3, 3, null]);
      const others = [visitor("a", { subject: "article/é" }), visitor("a", { subject: "Article/1" })];
      await put([{ source: "a", records: [...others, visitor("c", { metric: SHARES })] }], 2);
      expect(await counts("article/é")).toEqual([1, 1, null]);
      expect(await counts("article/e\u0301")).toEqual([null, null, null]);
      expect(await counts("article/1", SHARES)).toEqual([1, 1, null]);
      const yesterday = visitor("y", { atMs: NOW_MS - 86_400_000 });
      const longAgo = visitor("z", { atMs: NOW_MS - 2 * 86_400_000 });
      await put([{ source: "a", records: [yesterday, longAgo] }], 3);
      expect(await counts()).toEqual([5, 3, 1]);
      expect(await world.reader.sketch(VIEWS, "article/1", day - 2)).toBeNull();
    });

    test("sketches of many visitors are those of memory, to the byte, and those of past days go", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      const expected = new Sketch();
      let n = 0;
      for (let batch = 0; batch < 5; batch++) {
        const records = Array.from({ length: 1_000 }, () => {
          const code = codeOf(`v${n}`);
          expected.add(code);
          const subject = n % 4 === 0 ? `article/${n}` : "article/1";
          return { kind: "visitor", shard: 1, n: ++n, metric: VIEWS, subject, code, atMs: NOW_MS } as const;
        });
        const all = records.map((record) => ({ ...record, n: ++n, subject: "article/all" }));
        await put([{ source: "a", records: [...records, ...all] }], batch);
      }
      const stored = await world.reader.sketch(VIEWS, "article/all", ALL_TIME);
      expect(stored?.encode()).toEqual(expected.encode());
      expect((await world.reader.sketch(VIEWS, "article/all", dayOf(NOW_MS)))?.encode()).toEqual(expected.encode());
      while (await world.writer.tidy(NOW_MS + 2 * 86_400_000, false));
      expect(await world.reader.sketch(VIEWS, "article/all", dayOf(NOW_MS))).toBeNull();
      expect((await world.reader.sketch(VIEWS, "article/all", ALL_TIME))?.count).toBe(expected.count);
    });

    test("hours older than 400 days go before all others, and the count stays their sum", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 1 });
      const DAY_MS = 86_400_000;
      const dayS = (days: number) => Math.floor(NOW_MS / DAY_MS - days) * 86_400;
      const viewAt = (n: number, amount: number, days: number) => ({ ...view(n, amount), atMs: dayS(days) * 1000 });
      const history = () => world.reader.history(VIEWS, "article/1", dayS(1000), dayS(0) + 86_400);
      await put([{ source: "a", records: [viewAt(1, 5, 900), viewAt(2, 6, 401), viewAt(3, 7, 400), viewAt(4, 8, 0)] }]);
      // Segments of deltas are folded when others follow.
      await put(
        [{ source: "b", records: Array.from({ length: 30 }, (_, i) => like(i + 1, "x", 2 * i + 1, `article/a${i}`)) }],
        1,
      );
      await put(
        [{ source: "c", records: Array.from({ length: 30 }, (_, i) => like(i + 1, "x", 2 * i + 1, `article/b${i}`)) }],
        2,
      );
      const all = [
        [dayS(900), 5],
        [dayS(401), 6],
        [dayS(400), 7],
        [dayS(0), 8],
      ];
      expect(await history()).toEqual(all as never);
      while (await world.writer.tidy(NOW_MS, false));
      expect(await history()).toEqual(all.slice(2) as never);
      await put([{ source: "a", records: [viewAt(5, 1, 500)] }], 3);
      await put(
        [{ source: "b", records: Array.from({ length: 30 }, (_, i) => like(31 + i, "x", 2 * i + 1, `article/c${i}`)) }],
        4,
      );
      await put(
        [{ source: "c", records: Array.from({ length: 30 }, (_, i) => like(31 + i, "x", 2 * i + 1, `article/d${i}`)) }],
        5,
      );
      while (await world.writer.tidy(NOW_MS + 120_000, false));
      expect(await history()).toEqual(all.slice(2) as never);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(27);
    });

    test("a count ends at 2^53 − 1", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      await put([{ source: "a", records: [set(1, Number.MAX_SAFE_INTEGER - 3), view(2, 2)] }]);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(Number.MAX_SAFE_INTEGER - 1);
      await put([{ source: "a", records: [view(3, 2)] }], 1);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(Number.MAX_SAFE_INTEGER);
      await put([{ source: "a", records: [set(4, 3), view(5, 4)] }], 2);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(7);
    });

    test("versions rise by one for each batch that touches the shard, and the highest stamp stays", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      await put([{ source: "a", records: [like(1, "x", 11), like(2, "y", 9)] }]);
      await put([{ source: "a", records: [view(3, 1)] }], 1);
      await put([{ source: "a", records: [view(3, 1)] }], 2);
      const shards = await world.reader.shards();
      expect(shards[1]).toMatchObject({ version: 2, stampMax: 11 });
      expect(shards[2]).toMatchObject({ version: 0, stampMax: 0 });
    });

    test("a batch that fails leaves nothing", async () => {
      world = await open({ segmentRows: 10, totalsFrom: 5, foldFrom: 2 });
      await put([{ source: "a", records: [view(1, 5)] }]);
      const frame: Frame = { source: "a", records: [view(2, 5), like(3, "x", 11)] };
      expect(async () => await world.writer.applySpoiled([frame, 2], NOW_MS)).toThrow();
      expect([await world.writer.position(), await world.reader.position()]).toEqual([1, 1]);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(5);
      expect(await world.reader.register(LIKES, "article/1", "x")).toBe(0);
      await put([{ source: "a", records: [view(2, 7), like(3, "x", 11)] }], 1);
      expect(await world.reader.count(VIEWS, "article/1")).toBe(12);
      expect(await world.reader.count(LIKES, "article/1")).toBe(1);
    });

    test.each([1, 2, 3, 4, 5, 6])(
      "random records, replayed, reordered and reopened: all as in the model (seed %i)",
      async (seed) => {
        world = await open({ segmentRows: 5 + seed * 7, totalsFrom: 3, foldFrom: seed });
        const source = new FrameSource(seed);
        const model = new LedgerModel();
        const { below, chance } = source.random;
        if (hasJobs && seed > 2) source.jobs = 0.01 * seed;
        for (let round = 0; round < 60; round++) {
          const frames: PlacedFrame[] = [];
          for (let left = 1 + below(20); left > 0; left--) {
            const frame = source.next();
            model.apply(frame, model.position + 1 + below(1000));
            frames.push([frame, model.position]);
            if (frame.source === "jobs") break; // a batch ends with it
          }
          await world.writer.apply(frames, NOW_MS);
          if (chance(0.3)) await world.writer.tidy(source.nowMs, chance(0.3));
          if (chance(0.15)) await world.reopen();
          if (chance(0.1)) expect(await world.writer.makeDurable()).toBe(model.position);
          if (round % 12 === 11) await compare(world, model, source);
        }
        while (await world.writer.tidy(source.nowMs, false));
        await compare(world, model, source);
        await world.reopen();
        await compare(world, model, source);
      },
    );
  });
}

async function compare(world: LedgerWorld, model: LedgerModel, source: FrameSource): Promise<void> {
  const { reader, writer } = world;
  expect(await world.checkSteps(source.nowMs)).toEqual({ broken: [], differences: [] });
  expect([await reader.position(), await writer.position()]).toEqual([model.position, model.position]);
  for (const subject of source.subjects) {
    const counted = await Promise.all(METRICS.map((metric) => reader.count(metric, subject)));
    expect(counted).toEqual(METRICS.map((metric) => model.count(metric, subject)));
    const counts = (await reader.countsOf(subject)).filter(([, count]) => count > 0).sort((a, b) => a[0] - b[0]);
    const expected = METRICS.map((metric) => [metric, model.count(metric, subject)]);
    expect(counts as number[][]).toEqual(expected.filter(([, count]) => count !== 0));
    for (const metric of METRICS) {
      const steps = model.steps(metric, subject);
      const first = steps[0]?.[0] ?? 3600;
      const second = steps[1]?.[0] ?? first + 3600;
      const last = steps.at(-1)?.[0] ?? first;
      expect(await reader.history(metric, subject, first - 3600, last + 3600)).toEqual(steps);
      expect(await reader.history(metric, subject, first, second)).toEqual(steps.slice(0, 1));
    }
    const found: unknown[] = [];
    const there: unknown[] = [];
    for (const actor of source.actors) {
      const stamps = RELATIONS.map((metric) => [metric, model.register(metric, subject, actor)] as [number, number]);
      there.push(...stamps, ...stamps.filter(([, stamp]) => stamp !== 0));
      for (const metric of RELATIONS) found.push([metric, await reader.register(metric, subject, actor)]);
      found.push(...(await reader.registersOf(subject, actor)).sort((a, b) => a[0] - b[0]));
    }
    expect(found).toEqual(there);
    for (const metric of RELATIONS) {
      const pages = await walk((before) => reader.newestActors(metric, subject, before, 3));
      expect(pages).toEqual(model.actors(metric, subject));
    }
  }
  for (const actor of source.actors) {
    for (const metric of RELATIONS) {
      for (const type of [undefined, "article", "user", "artic", "none"]) {
        const pages = await walk((before) => reader.newestSubjects(metric, actor, before, 2, type));
        expect(pages).toEqual(model.subjects(metric, actor, type));
        expect(await reader.actorCount(metric, actor, type)).toBe(pages.length);
      }
    }
  }
  const keys = await reader.recentKeys(source.nowMs);
  const known = [...model.keys.values()].filter(({ atMs }) => atMs > source.nowMs - KEYS_MS);
  expect(keys.filter(({ atMs }) => atMs > source.nowMs - KEYS_MS).sort(byKey)).toEqual(known.sort(byKey));
  expect(keys.map(({ atMs }) => atMs)).toEqual(keys.map(({ atMs }) => atMs).sort((a, b) => a - b));
  const last = new Map((await reader.sources()).map((it) => [`${it.source} ${it.shard}`, it.last]));
  expect(last).toEqual(model.last);
  for (const [of, n] of model.last) {
    const [name, shard] = of.split(" ") as [string, string];
    expect(await writer.last(name, Number(shard))).toBe(n);
  }
}

function byKey(a: StoredKey, b: StoredKey): number {
  return a.key < b.key ? -1 : 1;
}

/** All pages of a list by its cursor. */
async function walk<T extends Place>(page: (before: Place) => T[] | Promise<T[]>): Promise<T[]> {
  const items: T[] = [];
  for (;;) {
    const last = items.at(-1);
    const more = await page(last ?? TOP);
    if (more.length === 0) return items;
    items.push(...more);
  }
}
