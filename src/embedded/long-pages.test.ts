import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { shardOfSubject } from "../arithmetic/shard.ts";
import { stampAt } from "../arithmetic/stamp.ts";
import { encodeUtf8 } from "../lib/utf8.ts";
import { KNOWN_LOOKS_AT_ONCE, KNOWN_LOOKS_MAX, KNOWN_WAITING_MAX } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { Known, PageQuery } from "../ports/counting.ts";
import { BatchBuilder } from "../projector/batch.ts";
import { SqliteLedgerWriter } from "./ledger.ts";
import { LongPages } from "./long-pages.ts";
import { prepareLedger, shareLedger } from "./open-ledger.ts";
import { Overlay, OverlayWriter, RegisterKey } from "./overlay.ts";
import { SqliteLedgerReader } from "./reads.ts";

const LIKES = { id: 3, name: "likes", kind: "relation" } as Metric;
const FOLLOWS = { id: 5, name: "follows", kind: "relation" } as Metric;
const KNOWN = { relation: FOLLOWS, type: "user" } as Known;
const NOW_MS = Date.UTC(2026, 10, 20, 12);
/** Each likes the article, and every second one is followed. */
const LIKERS = 30_000;
const QUERY: PageQuery = { subjects: ["article/1"], metrics: [LIKES], actor: "me", known: KNOWN };

type Act = [metric: Metric, subject: string, actor: string, active: boolean];
const like = (n: number, active = true): Act => [LIKES, "article/1", `u${n}`, active];
const follow = (n: number, active = true): Act => [FOLLOWS, `user/u${n}`, "me", active];

let folder: string;
let writer: SqliteLedgerWriter;
let near: SqliteLedgerReader;
let pages: LongPages;
let overlay: OverlayWriter;
let apply: (acts: Act[]) => void;
let reader: Overlay;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-known-"));
  const path = join(folder, "ledger.db");
  prepareLedger(path);
  const share = shareLedger(path, 7);
  writer = new SqliteLedgerWriter(path, share);
  const scratch = new Uint8Array(512);
  const last = new Map<number, number>();
  let position = 0;
  let nowMs = NOW_MS;
  apply = (acts) => {
    const builder = new BatchBuilder(writer);
    const records = acts.map(([metric, subject, actor, active]) => {
      const shard = shardOfSubject(scratch, encodeUtf8(subject, scratch, 0));
      const n = (last.get(shard) ?? 0) + 1;
      last.set(shard, n);
      const head = { shard, n, metric: metric.id, subject, once: undefined, past: false };
      return { kind: "relation" as const, ...head, actor, stamp: stampAt(nowMs++, active) };
    });
    builder.add({ source: "test", records }, ++position);
    writer.apply(builder.finish(nowMs));
  };
  const numbers = Array.from({ length: LIKERS }, (_, n) => n);
  apply(numbers.map((n) => like(n)));
  apply(numbers.filter((n) => n % 2 === 0).map((n) => follow(n)));
  const open = () => new SqliteLedgerReader(path, share);
  near = open();
  const shared = Overlay.allocate();
  overlay = new OverlayWriter(shared);
  reader = new Overlay(shared);
  pages = new LongPages({ overlay: reader, ledger: near, open });
});

afterEach(() => {
  pages.close();
  near.close();
  writer.close();
  rmSync(folder, { recursive: true });
});

/** How often others have their turn. */
function turns(): { taken(): number } {
  let taken = 0;
  let isOver = false;
  const turn = () => {
    if (isOver) return;
    taken++;
    setImmediate(turn);
  };
  setImmediate(turn);
  return {
    taken() {
      isOver = true;
      return taken;
    },
  };
}

test("many who are known are found a slice at a time, as they were at one moment", async () => {
  // On its way: one more who is followed, the newest of all.
  const key = new RegisterKey();
  key.set("user/u1", "me", reader.seed);
  overlay.put(FOLLOWS.id, key, stampAt(NOW_MS + 200_000, true), 1_000_000);
  let asked = 0;
  const counts = () => {
    asked++;
    return [LIKERS];
  };
  const others = turns();
  const page = pages.read(QUERY, counts);
  expect(page).toBeInstanceOf(Promise);
  // When it has begun, things change, and those who come in between see it.
  await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toBe(2);
  apply([like(29_998, false), follow(29_996, false), follow(3), like(LIKERS), follow(LIKERS)]);
  expect(near.register(LIKES.id, "article/1", "u29998") % 2).toBe(0);
  expect(await page).toEqual({
    counts: [LIKERS],
    mine: [false],
    known: [{ count: LIKERS / 2 + 1, actors: ["u29998", "u29996", "u29994"] }],
  });
  expect(others.taken()).toBeGreaterThan(2);
  // The next one begins later.
  expect((await pages.read(QUERY, () => [LIKERS])).known).toEqual([
    { count: LIKERS / 2 + 1, actors: [`u${LIKERS}`, "u29994", "u29992"] },
  ]);
});

test("few are found at once", () => {
  apply([[LIKES, "article/2", "u2", true]]);
  const page = pages.read({ ...QUERY, subjects: ["article/2"] }, () => [1]);
  expect(page).toEqual({ counts: [1], mine: [false], known: [{ count: 1, actors: ["u2"] }] });
});

test("only so many wait for their turn, and all of those get it", async () => {
  expect(LIKERS).toBeGreaterThan(KNOWN_LOOKS_AT_ONCE);
  const asked = Array.from({ length: KNOWN_WAITING_MAX + 2 }, async () => pages.read(QUERY, () => [LIKERS]));
  const done = await Promise.allSettled(asked);
  expect(done.slice(0, -2).every(({ status }) => status === "fulfilled")).toBe(true);
  expect(done.slice(-2)).toMatchObject([{ reason: { code: "unavailable" } }, { reason: { code: "unavailable" } }]);
}, 30_000);

test("beyond the bound it is refused at once", () => {
  const subjects = Array.from({ length: KNOWN_LOOKS_MAX / (LIKERS / 2) }, (_, i) => `article/${i}`);
  expect(() => pages.read({ ...QUERY, subjects }, () => subjects.map(() => LIKERS))).toThrow(/at most/);
});
