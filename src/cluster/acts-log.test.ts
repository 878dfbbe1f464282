import { afterEach, expect, setSystemTime, test } from "bun:test";
import { HybridClock } from "../arithmetic/stamp.ts";
import { KEYS_MS } from "../limits.ts";
import { type LogRecord, readFrame } from "../records.ts";
import { ActKeys, NO_BODY } from "./act-keys.ts";
import { ActsLog } from "./acts-log.ts";
import type { Act } from "./messages.ts";

const PARTITIONS = 4;

afterEach(() => void setSystemTime());

function world(keys = new ActKeys()) {
  const disk = { records: [] as LogRecord[], isFull: false };
  const log = {
    append(bytes: Uint8Array) {
      if (disk.isFull) throw Object.assign(new Error("full"), { code: "ENOSPC", errno: -28, syscall: "write" });
      disk.records.push(...readFrame(Buffer.from(bytes)).records);
      return disk.records.length;
    },
  };
  const acts = new ActsLog({ log, keys, clock: new HybridClock(0), source: "r", partitions: PARTITIONS });
  const answers = (...given: Act[]) =>
    acts.append(given).answers.map((answer) => (typeof answer === "object" ? answer?.n : answer));
  return { disk, answers };
}

const keyOf = (name: string) => name.padStart(32, "0");

function view(key: string, by: number, body = String(by).padStart(16, "0")): Act {
  const none = { actor: "", active: false, seen: null, isKept: false, atMs: null, visitor: null };
  return { ...none, shard: 7, metric: 1, subject: "article/1", by, once: { key: keyOf(key), body } };
}

function like(key: string, body: string): Act {
  return { ...view(key, 0, body.padStart(16, "0")), metric: 2, actor: "7", active: true };
}

test("a key with another body is refused and not logged, with the same body it is logged again", () => {
  const { disk, answers } = world();
  expect(answers(view("1", 5))).toEqual([1]);
  expect(answers(view("1", 6))).toEqual(["key-reused"]);
  expect(answers(view("1", 5), view("2", 6))).toEqual([2, 3]);
  expect(disk.records).toMatchObject([{ amount: 5 }, { amount: 5 }, { amount: 6 }]);
});

test("the keys of relations too", () => {
  const { disk, answers } = world();
  expect(answers(like("1", "a"), like("1", "b"), like("2", "b"))).toEqual([1, "key-reused", 2]);
  expect(disk.records).toMatchObject([{ kind: "relation" }, { kind: "relation" }]);
});

test("a repeat has no stamp of its own: somebody may have acted since", () => {
  const { disk, answers } = world();
  expect(answers(like("1", "a"), { ...like("2", "b"), active: false }, like("1", "a"))).toEqual([1, 2, 3]);
  expect(answers({ ...like("1", "a"), seen: 2_000_001 })).toEqual([4]);
  const stamps = disk.records.map((record) => record.kind === "relation" && record.stamp);
  expect(stamps).toEqual([expect.any(Number), expect.any(Number), 0, 2_000_001]);
  expect(stamps[1]).toBeGreaterThan(Number(stamps[0]));
});

test("of those that come together exactly one body is logged", () => {
  const { disk, answers } = world();
  expect(answers(view("1", 5), view("1", 6), view("1", 5), view("1", 7))).toEqual([1, "key-reused", 2, "key-reused"]);
  expect(disk.records.map((record) => record.kind === "tally" && record.amount)).toEqual([5, 5]);
});

test("an act that was not logged has taken no key", () => {
  const { disk, answers } = world();
  disk.isFull = true;
  // Nor is the second one told of the first, which never was.
  expect(answers(view("1", 5), view("1", 6))).toEqual([undefined, undefined]);
  disk.isFull = false;
  expect(answers(view("1", 6), view("1", 5))).toEqual([1, "key-reused"]);
});

test("an act that was not logged does not take away the key of one that was", () => {
  const { disk, answers } = world();
  answers(view("1", 5));
  disk.isFull = true;
  answers(view("1", 5));
  disk.isFull = false;
  expect(answers(view("1", 6))).toEqual(["key-reused"]);
});

test("a key is free again after ten minutes, counted from its first act", () => {
  const { answers } = world();
  const beganMs = Date.now();
  setSystemTime(beganMs);
  answers(view("1", 5));
  setSystemTime(beganMs + KEYS_MS - 1);
  expect(answers(view("1", 5), view("1", 6))).toEqual([2, "key-reused"]);
  setSystemTime(beganMs + KEYS_MS);
  expect(answers(view("1", 6))).toEqual([3]);
});

test("what an earlier run left is known; of several bodies the first in the log", () => {
  const before = world();
  before.answers(view("1", 5), like("2", "a"));
  const keys = new ActKeys();
  keys.inherit(before.disk.records);
  const other = world();
  other.answers(view("1", 6));
  keys.inherit(other.disk.records);
  const { answers } = world(keys);
  expect(answers(view("1", 6), like("2", "b"), view("1", 5))).toEqual(["key-reused", "key-reused", 1]);
});

test("keys that nobody gave are not kept", () => {
  const { answers } = world();
  expect(answers(view("1", 5, NO_BODY), view("1", 6))).toEqual([1, 2]);
});

test("where there is no room the oldest key goes", () => {
  const keys = new ActKeys(2);
  const { answers } = world(keys);
  answers(view("1", 5), view("2", 5), view("3", 5));
  expect(answers(view("3", 6), view("2", 6), view("1", 6))).toEqual(["key-reused", "key-reused", 4]);
});
