import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { ClaimsWork } from "../../test/support/claims-thread.ts";
import { Problem } from "../errors.ts";
import { VISITOR_WAYS } from "../limits.ts";
import { Claims, NOBODYS } from "./claims.ts";
import { type Fingerprint, keyName } from "./fingerprint.ts";
import { ACTORS } from "./salts.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-claims-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const T0 = Date.UTC(2026, 11, 31, 23, 59);
let files = 0;
const freshPath = () => join(folder, `${++files}.tally`);
const refuse = (problem: string): never => {
  throw new Error(problem);
};
const LEVELS = 5;
const open = (path = freshPath(), nowMs = T0) => Claims.open(path, { nowMs, complain: refuse, levelsMax: LEVELS });

/** The file is sparse, and long. */
function headOf(path: string, bytes: number): Buffer {
  const head = Buffer.alloc(bytes);
  const fd = openSync(path, "r");
  readSync(fd, head, 0, bytes, 0);
  closeSync(fd);
  return head;
}

/** As a file that was there before the machine stopped. */
function fromAnotherBoot(path: string, bytes: number): string {
  const copy = freshPath();
  const file = headOf(path, bytes);
  file.fill("another boot", 64, 104);
  writeFileSync(copy, file);
  return copy;
}
const unowned = (nowMs: number, windowMs = 1_000) => ({ nowMs, windowMs, owner: NOBODYS });

describe("a claim", () => {
  test("is granted once in its time, and repeats do not prolong it", () => {
    const claims = open();
    const name = keyName("a");
    expect(claims.claim(name, unowned(T0))).toBe("new");
    expect(claims.claim(name, unowned(T0 + 600))).toBe("taken");
    expect(claims.claim(name, unowned(T0 + 999))).toBe("taken");
    expect(claims.claim(name, unowned(T0 + 1_000))).toBe("new");
    expect(claims.claim(name, unowned(T0 + 1_000))).toBe("taken");
    expect(claims.claim(keyName("b"), unowned(T0 + 1_000))).toBe("new");
  });

  test("is granted again to its owner", () => {
    const claims = open();
    const name = keyName("a");
    expect(claims.claim(name, { nowMs: T0, windowMs: 1_000, owner: 7 })).toBe("new");
    expect(claims.claim(name, { nowMs: T0 + 1, windowMs: 1_000, owner: 7 })).toBe("again");
    expect(claims.claim(name, { nowMs: T0 + 1, windowMs: 1_000, owner: -7 })).toBe("taken");
    expect(claims.claim(name, unowned(T0 + 1))).toBe("taken");
    expect(claims.ownerOf(name, T0 + 999)).toBe(7);
    expect(claims.ownerOf(name, T0 + 1_000)).toBeNull();
  });

  test("is given back, unless somebody has it by then", () => {
    const claims = open();
    const name = keyName("a");
    claims.claim(name, unowned(T0));
    claims.release(name, { nowMs: T0 + 1, untilMs: T0 + 1_000 });
    expect(claims.claim(name, unowned(T0 + 2))).toBe("new");
    claims.release(name, { nowMs: T0 + 3, untilMs: T0 + 1_000 });
    expect(claims.claim(name, unowned(T0 + 4))).toBe("taken");
  });

  test("of a clock that was ahead does not hold for ever", () => {
    const claims = open();
    const name = keyName("a");
    claims.claim(name, unowned(T0 + 86_400_000));
    expect(claims.claim(name, unowned(T0))).toBe("new");
    expect(claims.claim(name, unowned(T0 + 1))).toBe("taken");
  });

  test("holds for a year too", () => {
    const claims = open();
    const year = 365 * 86_400_000;
    claims.claim(keyName("a"), unowned(T0, year));
    expect(claims.claim(keyName("a"), unowned(T0 + year - 1, year))).toBe("taken");
    expect(claims.claim(keyName("a"), unowned(T0 + year, year))).toBe("new");
  });
});

describe("many claims", () => {
  const COUNT = 200_000;

  test("find room, each by itself, and take no more than they need", () => {
    const path = freshPath();
    const claims = open(path);
    const names = Array.from({ length: COUNT }, (_, i) => keyName(String(i)));
    expect(names.filter((name) => claims.claim(name, unowned(T0)) === "new")).toHaveLength(COUNT);
    expect(names.filter((name) => claims.claim(name, unowned(T0 + 999)) === "taken")).toHaveLength(COUNT);
    const { bytes } = claims;
    expect(bytes).toBeLessThan(COUNT * 16 * 4);
    // All over: others take their places.
    const others = Array.from({ length: COUNT }, (_, i) => keyName(`other ${i}`));
    expect(others.filter((name) => claims.claim(name, unowned(T0 + 1_000)) === "new")).toHaveLength(COUNT);
    expect(claims.bytes).toBe(bytes);
    expect(statSync(path).blocks * 512).toBeLessThan(2 * bytes);
  });

  test("are refused when nothing is over, and nothing is claimed then", () => {
    const claims = open();
    // All in one stripe, so that it is full soon.
    const nameOf = (n: number): Fingerprint => ({
      place: 5,
      low: Math.imul(n, 0x9e3779b1),
      high: n & 0xffff,
      text: "",
    });
    const most = VISITOR_WAYS * (2 ** LEVELS - 1);
    const held: number[] = [];
    let refused = -1;
    for (let n = 1; n <= most + 1 && refused < 0; n++) {
      try {
        expect(claims.claim(nameOf(n), unowned(T0))).toBe("new");
        held.push(n);
      } catch (error) {
        expect(error).toBeInstanceOf(Problem);
        expect((error as Problem).code).toBe("unavailable");
        refused = n;
      }
    }
    expect(refused).toBeGreaterThan(most / 2);
    expect(held.filter((n) => claims.claim(nameOf(n), unowned(T0 + 1)) !== "taken")).toEqual([]);
    expect(claims.ownerOf(nameOf(refused), T0 + 1)).toBeNull();
    expect(claims.claim(nameOf(refused), unowned(T0 + 1_000))).toBe("new");
    expect(claims.bytes).toBe(claims.bytesMax);
  });
});

describe("threads", () => {
  test("that race for the same names: each is granted to exactly one, also while the table grows", async () => {
    for (let round = 0; round < 3; round++) {
      const claims = open();
      const gate = new SharedArrayBuffer(4);
      const NAMES = 30_000;
      const threads = await Promise.all(
        [1, 2, 3, 4].map(async (thread) => {
          const work: ClaimsWork = { share: claims.share(), thread, gate, names: NAMES, nowMs: T0 };
          const worker = new Worker(new URL("../../test/support/claims-thread.ts", import.meta.url), {
            workerData: work,
          });
          await new Promise((resolve) => worker.once("message", resolve));
          return worker;
        }),
      );
      const results = threads.map((worker) => new Promise<number[]>((resolve) => worker.once("message", resolve)));
      Atomics.store(new Int32Array(gate), 0, 1);
      Atomics.notify(new Int32Array(gate), 0);
      const granted = (await Promise.all(results)).flat();
      await Promise.all(threads.map((worker) => worker.terminate()));
      expect(granted).toHaveLength(NAMES);
      expect(new Set(granted).size).toBe(NAMES);
    }
  });

  test("that die hold no lock for long", () => {
    const claims = open();
    const name = keyName("a");
    const other = Claims.attach(claims.share(), 3);
    other.locks.take(name.place & 1_023);
    claims.threadGone(3);
    expect(claims.claim(name, unowned(T0))).toBe("new");
  });
});

describe("the file", () => {
  const names = Array.from({ length: 60_000 }, (_, i) => keyName(String(i)));
  const fill = (claims: Claims) => {
    for (const [i, name] of names.entries())
      claims.claim(name, { nowMs: T0, windowMs: i % 8 ? 1_000 : 5_000, owner: i });
    return [ACTORS, 20_000].map((day) => claims.salts.of(day));
  };
  const wrongIn = (claims: Claims) =>
    [...names.entries()].filter(([i, name]) => claims.ownerOf(name, T0 + 1_000) !== (i % 8 ? null : i));

  test("gives a new run what holds, and the salts", () => {
    const path = freshPath();
    const first = open(path);
    const salts = fill(first);
    const second = open(path, T0 + 1_000);
    expect([ACTORS, 20_000].map((day) => second.salts.of(day))).toEqual(salts);
    expect(wrongIn(second)).toEqual([]);
    expect(second.bytes).toBe(first.bytes);
  });

  test("of another boot is copied, and what is over forgotten", () => {
    const path = freshPath();
    const first = open(path);
    const salts = fill(first);
    const other = fromAnotherBoot(path, first.bytes);
    const second = open(other, T0 + 1_000);
    expect([ACTORS, 20_000].map((day) => second.salts.of(day))).toEqual(salts);
    expect(wrongIn(second)).toEqual([]);
    expect(second.bytes).toBeLessThan(first.bytes);
    // The copy is of this boot.
    expect(open(other, T0 + 1_000).bytes).toBe(second.bytes);
    expect(open(fromAnotherBoot(other, second.bytes), T0 + 5_000).bytes).toBeLessThan(second.bytes);
  });

  test("of something else is given up with a word", () => {
    const path = freshPath();
    for (const [content, problem] of [
      ["", "is no visitors' file"],
      ["TALLYCTR", "is no visitors' file"],
      [`TALLYVIS${"\u0009".repeat(4_088)}`, "has layout"],
    ] as const) {
      writeFileSync(path, content);
      const problems: string[] = [];
      const claims = Claims.open(path, { nowMs: T0, complain: (it) => problems.push(it) });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toContain(problem);
      expect(claims.claim(keyName("a"), unowned(T0))).toBe("new");
    }
  });

  test("that was cut off gives what is left of it", () => {
    const path = freshPath();
    const first = open(path);
    for (let i = 0; i < 5_000; i++) first.claim(keyName(String(i)), unowned(T0));
    truncateSync(path, 100_000);
    const second = open(path, T0);
    const kept = Array.from({ length: 5_000 }, (_, i) => second.ownerOf(keyName(String(i)), T0)).filter(
      (it) => it === 0,
    );
    expect(kept.length).toBeGreaterThan(1_000);
    expect(kept.length).toBeLessThan(3_000);
  });

  test("is readable by its owner alone, and holds no name", () => {
    const path = freshPath();
    const claims = open(path);
    claims.claim(keyName("somebody-at-home"), unowned(T0));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(headOf(path, claims.bytes).includes("somebody")).toBeFalse();
  });
});
