import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DAY_MS, dayOf } from "../arithmetic/days.ts";
import { VISITOR_WAYS } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { OnceKey } from "../ports/counting.ts";
import { Claims } from "./claims.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { NodeVisitors } from "./visitors.ts";

const MINUTE = 60_000;
const VIEWS: Metric = { id: 1, name: "views", kind: "tally", unique: 30 * MINUTE };
const WEEKLY: Metric = { id: 2, name: "weekly", kind: "tally", unique: 7 * DAY_MS };
const ANN = { actor: "ann" };
const SOMEBODY = { address: "203.0.113.9", agent: "Mozilla/5.0 (a browser)" };
const KEY: OnceKey = { key: "0123456789abcdef0123456789abcdef", body: "fedcba9876543210" };
const NOON = Date.UTC(2026, 11, 31, 12);
const MIDNIGHT = Date.UTC(2027, 0, 1);

const LEVELS = 4;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-visitors-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function world(startMs = NOON) {
  const clock = { nowMs: startMs };
  const path = join(folder, `${++files}.tally`);
  const complain = (problem: string) => expect(problem).toBe("");
  const claims = () => Claims.open(path, { nowMs: clock.nowMs, complain, levelsMax: LEVELS });
  const open = () => new NodeVisitors(claims(), () => clock.nowMs);
  const main = open();
  const thread = (skewMs = 0) => new NodeVisitors(Claims.attach(main.claims.share(), 3), () => clock.nowMs + skewMs);
  return { clock, path, open, main, thread };
}

describe("a visitor", () => {
  test("counts once in the window, on each subject and metric by himself", () => {
    for (const visitor of [ANN, SOMEBODY]) {
      const { clock, main } = world();
      const counts = (subject: string, metric = VIEWS) => main.claim(metric, subject, visitor) !== null;
      expect([counts("a/1"), counts("a/1"), counts("a/2"), counts("a/1", WEEKLY)]).toEqual([true, false, true, true]);
      clock.nowMs += 30 * MINUTE - 1;
      expect([counts("a/1"), counts("a/1", WEEKLY)]).toEqual([false, false]);
      clock.nowMs += 1;
      expect([counts("a/1"), counts("a/1"), counts("a/1", WEEKLY)]).toEqual([true, false, false]);
    }
  });

  test("is an actor, or an address with a browser", () => {
    const { main } = world();
    const counts = (visitor: Parameters<NodeVisitors["claim"]>[2]) => main.claim(VIEWS, "a/1", visitor) !== null;
    const all = [
      ANN,
      { actor: "Ann" },
      { actor: "ann " },
      { actor: "ann\u0301" },
      { actor: "__proto__" },
      SOMEBODY,
      { ...SOMEBODY, address: "203.0.113.10" },
      { ...SOMEBODY, agent: "another" },
      { ...SOMEBODY, agent: "" },
      { actor: SOMEBODY.address },
    ];
    expect(all.map(counts)).toEqual(all.map(() => true));
    expect(all.map(counts)).toEqual(all.map(() => false));
  });

  test("whose event could not be counted may try again", () => {
    const { main } = world(MIDNIGHT + MINUTE);
    for (const visitor of [ANN, SOMEBODY]) {
      main.claim(VIEWS, "a/1", visitor)?.release();
      expect(main.claim(VIEWS, "a/1", visitor)).not.toBeNull();
      expect(main.claim(VIEWS, "a/1", visitor)).toBeNull();
    }
  });

  test("is known after a restart", () => {
    const { clock, main, open } = world(MIDNIGHT - MINUTE);
    for (const visitor of [ANN, SOMEBODY]) main.claim(VIEWS, "a/1", visitor);
    const next = open();
    expect([ANN, SOMEBODY].map((visitor) => next.claim(VIEWS, "a/1", visitor))).toEqual([null, null]);
    clock.nowMs += 5 * MINUTE;
    const after = open();
    expect([ANN, SOMEBODY].map((visitor) => after.claim(VIEWS, "a/1", visitor))).toEqual([null, null]);
  });

  test("without a name is one from before midnight to after it", () => {
    const { clock, thread } = world(MIDNIGHT - 10 * MINUTE);
    const counts = () => thread().claim(VIEWS, "a/1", SOMEBODY) !== null;
    expect(counts()).toBeTrue();
    clock.nowMs = MIDNIGHT + 20 * MINUTE - 1;
    expect(counts()).toBeFalse();
    clock.nowMs = MIDNIGHT + 20 * MINUTE;
    expect(counts()).toBeTrue();
    clock.nowMs = MIDNIGHT + 50 * MINUTE - 1;
    expect(counts()).toBeFalse();
    clock.nowMs = MIDNIGHT + 50 * MINUTE;
    expect(counts()).toBeTrue();
  });

  test("without a name is known until the end of the next day at most, an actor for the whole window", () => {
    const { clock, main } = world(NOON);
    const counts = (visitor: Parameters<NodeVisitors["claim"]>[2]) => main.claim(WEEKLY, "a/1", visitor) !== null;
    expect([counts(ANN), counts(SOMEBODY)]).toEqual([true, true]);
    clock.nowMs = NOON + DAY_MS;
    main.tend([VIEWS, WEEKLY]);
    expect([counts(ANN), counts(SOMEBODY)]).toEqual([false, false]);
    clock.nowMs = NOON + 2 * DAY_MS;
    main.tend([VIEWS, WEEKLY]);
    expect([counts(ANN), counts(SOMEBODY)]).toEqual([false, true]);
    clock.nowMs = NOON + 7 * DAY_MS;
    expect(counts(ANN)).toBeTrue();
  });

  test.each([
    ["the old day", -2_000],
    ["the new day", 2_000],
  ])("counts once where one thread's clock is still in %s", (_name, skewMs) => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      for (const aroundMs of [MIDNIGHT, MIDNIGHT + 30 * MINUTE]) {
        for (let offsetMs = -3_000; offsetMs <= 3_000; offsetMs += 250) {
          const { thread } = world(aroundMs + offsetMs);
          const threads = [thread(), thread(skewMs)];
          const claims = order.map((i) => threads[i]?.claim(VIEWS, "a/1", SOMEBODY));
          expect(claims.filter((claim) => claim !== null)).toHaveLength(1);
        }
      }
    }
  });
});

describe("salts", () => {
  const saltsIn = (path: string) => {
    const file = Buffer.alloc(4_096);
    const fd = openSync(path, "r");
    readSync(fd, file, 0, file.length, 0);
    closeSync(fd);
    return [0, 1, 2, 3, 4].map((i) => ({
      day: file.readInt32LE(1024 + 64 * i),
      isZero: file.subarray(1056 + 64 * i, 1088 + 64 * i).every((byte) => byte === 0),
    }));
  };
  const daysIn = (path: string) => {
    const salts = saltsIn(path);
    for (const { day, isZero } of salts) expect(isZero).toBe(day === 0);
    return salts.map(({ day }) => day).filter((day) => day !== 0);
  };

  test("are the same for all threads, of a day's own, and random", () => {
    const { thread } = world();
    const [one, other] = [thread(), thread()];
    const day = dayOf(NOON);
    const salts = [day, day + 1, day + 2].map((it) => one.claims.salts.of(it));
    expect([day, day + 1, day + 2].map((it) => other.claims.salts.of(it))).toEqual(salts);
    expect(new Set([...salts, world().main.claims.salts.of(day)]).size).toBe(4);
    for (const salt of salts) expect(Buffer.from(salt, "base64url")).toHaveLength(32);
  });

  test("are forgotten, on the disk too, once no window reaches them", () => {
    const { clock, path, main } = world(MIDNIGHT - MINUTE);
    const [old, fresh] = [dayOf(MIDNIGHT - 1), dayOf(MIDNIGHT)];
    const visit = () => {
      main.claim(VIEWS, "a/1", SOMEBODY);
      main.tend([VIEWS]);
    };
    visit();
    expect(daysIn(path)).toEqual([old]);
    clock.nowMs = MIDNIGHT + 29 * MINUTE;
    visit();
    expect(daysIn(path).sort()).toEqual([old, fresh]);
    clock.nowMs = MIDNIGHT + 30 * MINUTE;
    visit();
    expect(daysIn(path)).toEqual([fresh]);
    for (let day = 1; day < 9; day++) {
      clock.nowMs = MIDNIGHT + day * DAY_MS + 40 * MINUTE;
      visit();
      expect(daysIn(path)).toEqual([fresh + day]);
    }
  });

  test("that all agree upon replace a thread's own, everywhere", () => {
    const { thread } = world();
    const [one, other] = [thread(), thread()];
    const day = dayOf(NOON);
    const agreed = Buffer.alloc(32, 7).toString("base64url");
    expect(one.claims.salts.of(day)).not.toBe(agreed);
    other.claims.salts.set(day, agreed);
    expect([one, other].map((it) => it.claims.salts.of(day))).toEqual([agreed, agreed]);
    const { changes } = one.claims.salts;
    one.claims.salts.set(day, agreed);
    expect(one.claims.salts.changes).toBe(changes);
  });
});

describe("a keyed event", () => {
  test("that counts does so when it is repeated, whoever comes in between, also after the window", () => {
    const { clock, main } = world();
    const brief = { ...VIEWS, unique: MINUTE };
    const first = { once: KEY };
    expect(main.claim(brief, "a/1", ANN, first)).not.toBeNull();
    expect(main.claim(brief, "a/1", ANN)).toBeNull();
    expect(main.claim(brief, "a/1", ANN, first)).not.toBeNull();
    clock.nowMs += 2 * MINUTE;
    expect(main.claim(brief, "a/1", ANN, first)).not.toBeNull();
    // The repeat has begun no window of its own.
    expect(main.claim(brief, "a/1", ANN)).not.toBeNull();
    expect(main.claim(brief, "a/1", ANN, first)).not.toBeNull();
  });

  test("that was left out stays so, also when the window is over", () => {
    const { clock, main, open } = world();
    const brief = { ...VIEWS, unique: MINUTE };
    expect(main.claim(brief, "a/1", ANN)).not.toBeNull();
    expect(main.claim(brief, "a/1", ANN, { once: KEY })).toBeNull();
    clock.nowMs += 9 * MINUTE;
    expect(main.claim(brief, "a/1", ANN, { once: KEY })).toBeNull();
    expect(open().claim(brief, "a/1", ANN, { once: KEY })).toBeNull();
    expect(main.claim(brief, "a/1", ANN)).not.toBeNull();
    clock.nowMs += MINUTE;
    expect(main.claim(brief, "a/1", ANN, { once: KEY })).not.toBeNull();
  });

  test("is another one when the key's ten minutes are over, and the visitor has counted", () => {
    const { clock, main } = world();
    const keyed = () => main.claim(VIEWS, "a/1", ANN, { once: KEY }) !== null;
    expect(keyed()).toBeTrue();
    clock.nowMs += 10 * MINUTE - 1;
    expect(keyed()).toBeTrue();
    clock.nowMs += 1;
    expect(keyed()).toBeFalse();
    clock.nowMs += 20 * MINUTE;
    expect(keyed()).toBeTrue();
  });

  test("with another body is refused, counted or not", () => {
    const { main } = world();
    const other = { once: { ...KEY, body: "1111111100000000" } };
    main.claim(VIEWS, "a/1", ANN, { once: KEY });
    expect(() => main.claim(VIEWS, "a/1", ANN, other)).toThrow("another body");
    const left = { once: { ...KEY, key: "ffffffffffffffffffffffffffffffff" } };
    expect(main.claim(VIEWS, "a/1", ANN, left)).toBeNull();
    expect(() => main.claim(VIEWS, "a/1", ANN, { once: { ...other.once, key: left.once.key } })).toThrow(
      "another body",
    );
  });

  test("that died between claim and outcome gets its claim again", () => {
    const { main } = world();
    expect(main.win(main.wanted(VIEWS, "a/1", ANN, { once: KEY }))).not.toBeNull();
    expect(main.claim(VIEWS, "a/1", ANN, { once: { ...KEY, key: "ffffffffffffffffffffffffffffffff" } })).toBeNull();
    expect(main.claim(VIEWS, "a/1", ANN, { once: KEY })).not.toBeNull();
  });
});

test("a line of an upload gets its claim again, another one of the same visitor does not", () => {
  const { main } = world();
  const claims = ["k 1", "k 2", "k 1", "k 2"].map((line) => main.claim(VIEWS, "a/1", SOMEBODY, { line }));
  expect(claims.map((claim) => claim !== null)).toEqual([true, false, true, false]);
});

test("a full table refuses and leaves no half claim", () => {
  const { main } = world(MIDNIGHT + MINUTE);
  // Only the stripe of today's name is filled, so yesterday's is won first. Salts are chance: one subject in 1,024 has both
  // of its names in one stripe.
  const subject = ["a/1", "a/2", "a/3", "a/4", "a/5", "a/6"].find((each) => {
    const [yesterday, today] = main.wanted(VIEWS, each, SOMEBODY, {}).names as [Fingerprint, Fingerprint];
    return (yesterday.place & 1_023) !== (today.place & 1_023);
  }) as string;
  const { names, nowMs } = main.wanted(VIEWS, subject, SOMEBODY, {});
  const [yesterday, today] = names as [Fingerprint, Fingerprint];
  for (let n = 0; n < 15 * VISITOR_WAYS * 2 ** LEVELS; n++) {
    const name = { place: today.place, low: Math.imul(n, 0x9e3779b1), high: n & 0xffff, text: "" };
    try {
      main.claims.claim(name, { nowMs, windowMs: DAY_MS, owner: 0 });
    } catch {}
  }
  expect(() => main.claim(VIEWS, subject, SOMEBODY)).toThrow("more visitors than can be remembered");
  expect(main.claims.ownerOf(yesterday, nowMs)).toBeNull();
});
