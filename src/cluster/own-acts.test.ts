import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OWN_ACTS_BYTES, OWN_ACTS_LISTED, OWN_ACTS_MAX } from "../limits.ts";
import { FileLogReader, LogHead, LogWriter } from "../local/log.ts";
import { FrameWriter, type LogRecord, NO_SLOT } from "../records.ts";
import { ACTS } from "./log-data.ts";
import { OutboxIndex } from "./outbox-index.ts";
import { OwnActs } from "./own-acts.ts";

const ROOT = mkdtempSync(join(tmpdir(), "tally-own-acts-"));
afterAll(() => rmSync(ROOT, { recursive: true }));

const RUN = `run${ACTS}`;
const SHARD = 7;
const LIKES = 2;
const VIEWS = 1;
type Unnumbered = { subject?: string; actor?: string; amount?: number; stamp?: number };

function world() {
  const folder = mkdtempSync(join(ROOT, "outbox-"));
  const head = new LogHead();
  const log = new LogWriter(folder, head, { isLoose: true });
  const index = new OutboxIndex(head.position);
  const outbox = new FileLogReader(folder, head);
  const own = new OwnActs({ outbox, index, durable: head.position });
  const writer = new FrameWriter();
  let n = 0;
  let end = 0;
  let lastFrame = Buffer.alloc(0);
  const append = (acts: Unnumbered[], source = RUN) => {
    writer.begin(source);
    const records = acts.map(({ subject = "a/1", actor, amount = 1, stamp = 0 }): LogRecord => {
      const about = { shard: SHARD, n: ++n, subject };
      if (actor !== undefined) return { ...about, kind: "relation", metric: LIKES, actor, stamp: stamp || 2 * n + 1 };
      return { ...about, kind: "tally", metric: VIEWS, amount, atMs: 1, slot: NO_SLOT, notedAfter: 0 };
    });
    for (const record of records) writer.add(record);
    const frame = writer.finish();
    lastFrame = Buffer.from(frame);
    end = log.append(frame);
    index.add({ source, records }, end, frame.length);
    return { last: n };
  };
  return {
    own,
    append,
    again: () => {
      end = log.append(lastFrame);
    },
    ship: () => own.durable(end),
    decide: (last: number, source = RUN) => index.take([{ source, shard: SHARD, last }]),
    likes: (subject = "a/1") => own.find({ metric: LIKES, subject }).map(({ actor, n }) => [actor, n]),
    subjects: (actor: string) => own.find({ metric: LIKES, actor }).map(({ subject }) => subject),
    stop: () => log.close(),
  };
}

test("acts are found by subject, by actor and by both, the newest first", () => {
  const { own, append, ship, likes, subjects, stop } = world();
  append([{ actor: "7" }, { actor: "8" }]);
  append([{ actor: "7", subject: "a/2" }, { amount: 5 }]);
  append([{ actor: "7" }]);
  ship();
  expect(likes()).toEqual([
    ["7", 5],
    ["8", 2],
  ]);
  expect(subjects("7")).toEqual(["a/1", "a/2"]);
  expect(own.find({ metric: LIKES, subject: "a/2", actor: "7" }).map(({ n }) => n)).toEqual([3]);
  expect(own.find({ metric: VIEWS, subject: "a/1" })).toMatchObject([{ n: 4, amount: 5, actor: "", key: null }]);
  expect(own.counts()).toEqual([
    { metric: LIKES, subject: "a/1" },
    { metric: LIKES, subject: "a/2" },
    { metric: VIEWS, subject: "a/1" },
  ]);
  stop();
});

test("what is not durable is not shown, and no more what the ledger has", () => {
  const { own, append, ship, decide, likes, stop } = world();
  append([{ actor: "7" }]);
  expect(likes()).toEqual([]);
  ship();
  const { last } = append([{ actor: "8" }]);
  expect(likes()).toEqual([["7", 1]]);
  ship();
  expect(likes()).toEqual([
    ["8", 2],
    ["7", 1],
  ]);
  decide(last);
  expect(likes()).toEqual([]);
  append([{ actor: "9" }]);
  ship();
  own.forget();
  expect(likes()).toEqual([["9", 3]]);
  stop();
});

test("what is decided is gone though what came with it is not, and a frame that comes again counts once", () => {
  const { own, append, ship, decide, likes, again, stop } = world();
  const { last } = append([{ actor: "7" }]);
  append([{ actor: "8" }, { amount: 5 }]);
  ship();
  expect(likes().length).toBe(2);
  again();
  ship();
  const views = () => own.find({ metric: VIEWS, subject: "a/1" }).map(({ amount }) => amount);
  expect(views()).toEqual([5]);
  decide(last);
  expect(likes()).toEqual([["8", 2]]);
  expect(own.counts()).toEqual([
    { metric: LIKES, subject: "a/1" },
    { metric: VIEWS, subject: "a/1" },
  ]);
  decide(last + 1);
  expect(own.counts()).toEqual([{ metric: VIEWS, subject: "a/1" }]);
  expect(views()).toEqual([5]);
  stop();
});

test("notes of the counter table are not acts", () => {
  const { own, append, ship, stop } = world();
  append([{ amount: 5 }], "run");
  append([{ amount: 6 }]);
  ship();
  expect(own.find({ metric: VIEWS, subject: "a/1" }).map(({ amount }) => amount)).toEqual([6]);
  stop();
});

test("an outbox that waits for days costs a bounded memory, and the newest are shown", () => {
  const { own, append, ship, decide, likes, stop } = world();
  const many = 20_000;
  for (let i = 0; i < 12; i++) {
    append(Array.from({ length: many }, (_, j) => ({ actor: `${i}-${j}` })));
    // Another stretch of the outbox.
    decide(0);
  }
  ship();
  const found = likes();
  expect(found.length).toBe(OWN_ACTS_LISTED);
  expect(found[0]).toEqual([`11-${many - 1}`, 12 * many]);
  expect(own.size).toBeLessThanOrEqual(OWN_ACTS_MAX);
  append([{ actor: "last" }]);
  ship();
  expect(likes()[0]).toEqual(["last", 12 * many + 1]);
  stop();
});

test("of a long outbox only the end is read", () => {
  const { append, ship, decide, likes, subjects, stop } = world();
  append([{ actor: "first" }]);
  decide(0);
  const filler = Array.from({ length: 4_000 }, (_, i) => ({
    subject: `${"s".repeat(100)}/${i}`,
    actor: "x".repeat(100),
  }));
  for (let bytes = 0; bytes <= OWN_ACTS_BYTES; bytes += 4_000 * 200) {
    append(filler);
    decide(0);
  }
  append([{ actor: "last" }]);
  ship();
  expect(likes().map(([actor]) => actor)).toEqual(["last"]);
  expect(subjects("first")).toEqual([]);
  stop();
});
