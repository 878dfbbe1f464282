import { expect, test } from "bun:test";
import { Worker } from "node:worker_threads";
import { random } from "../../test/support/random.ts";
import { isActive } from "../arithmetic/stamp.ts";
import { OVERLAY_GENERATION_RECORDS, OVERLAY_GENERATIONS } from "../limits.ts";
import { Overlay, OverlayWriter, RegisterKey } from "./overlay.ts";

function open() {
  const share = Overlay.allocate();
  return { writer: new OverlayWriter(share), reader: new Overlay(share) };
}

test("is a map of registers to their newest stamps, whichever generations they are in", () => {
  const { writer, reader } = open();
  const { below, pick } = random(2);
  const model = new Map<string, { metric: number; subject: string; actor: string; stamp: number; end: number }>();
  const key = new RegisterKey();
  const subjects = ["a/1", "a/2", "a/é", "b/__proto__", `a/${"x".repeat(128)}`];
  const actors = Array.from({ length: 300 }, (_, i) => `u${i}`).concat("é", "é", "😀");
  let stamp = 10;
  let applied = 0;
  for (let i = 0; i < 4 * OVERLAY_GENERATION_RECORDS; i++) {
    const [metric, subject, actor] = [1 + below(3), pick(subjects), pick(actors)];
    stamp += 1 + below(4);
    key.set(subject, actor, reader.seed);
    writer.put(metric, key, stamp, i + 1);
    model.set(`${metric} ${subject} ${actor}`, { metric, subject, actor, stamp, end: i + 1 });
    if (i % 100_000 === 99_999) {
      applied = i - 70_000;
      writer.applied(applied);
    }
  }
  // What the ledger has may be here still, or be gone; what it does not have must be here.
  for (const { metric, subject, actor, stamp, end } of model.values()) {
    key.set(subject, actor, reader.seed);
    const found = reader.find(metric, key);
    if (end > applied) expect(found).toBe(stamp);
    else expect([0, stamp]).toContain(found);
  }
  for (const subject of subjects) {
    key.setSubject(subject, reader.seed);
    const list = reader.bySubject(1, key);
    const expected = [...model.values()].filter((it) => it.metric === 1 && it.subject === subject && it.end > applied);
    for (const { actor, stamp } of expected) expect(list).toContainEqual({ id: actor, stamp });
    expect(list).toEqual(list.toSorted((a, b) => b.stamp - a.stamp));
    expect(new Set(list.map(({ id }) => id)).size).toBe(list.length);
  }
  key.setActor("😀", reader.seed);
  expect(reader.byActor(2, key).length).toBeLessThanOrEqual(subjects.length);
  key.setActor("nobody", reader.seed);
  expect(reader.byActor(2, key)).toEqual([]);
});

test("is empty once everything was applied, and may be filled again for ever", () => {
  const { writer, reader } = open();
  const key = new RegisterKey();
  let end = 0;
  for (let round = 0; round < 3 * OVERLAY_GENERATIONS; round++) {
    for (let i = 0; i < OVERLAY_GENERATION_RECORDS / 16; i++) {
      key.set("a/1", `u${i}`, reader.seed);
      writer.put(1, key, 2 * ++end + 1, end);
    }
    writer.applied(end);
    expect(reader.records).toBe(0);
    expect(reader.find(1, key)).toBe(0);
  }
});

test("a look that generations left meanwhile is repeated", () => {
  const share = Overlay.allocate();
  const writer = new OverlayWriter(share);
  const [x, other] = [new RegisterKey(), new RegisterKey()];
  x.set("a/1", "x", writer.seed);
  let end = 0;
  const put = (key: RegisterKey) => writer.put(1, key, 2 * ++end + 1, end);
  let stepsLeft = 0;
  class Interrupted extends Overlay {
    protected override generationAt(i: number) {
      if (--stepsLeft === 0) {
        // Between the look at the newest generation and at the oldest the ledger takes both, and memory is used again.
        writer.applied(end);
        put(x);
      }
      return super.generationAt(i);
    }
  }
  const reader = new Interrupted(share);
  for (const look of [() => reader.find(1, x), () => reader.bySubject(1, x)[0]?.stamp]) {
    put(x);
    for (let i = 0; i < OVERLAY_GENERATION_RECORDS; i++) {
      other.set("a/2", `u${i}`, writer.seed);
      put(other);
    }
    stepsLeft = 2;
    expect(look()).toBe(2 * end + 1);
    writer.applied(end);
  }
});

test("says when there is no room, before it is too late", () => {
  const { writer, reader } = open();
  const key = new RegisterKey();
  key.set(`a/${"x".repeat(128)}`, "y".repeat(128), reader.seed);
  let put = 0;
  while (writer.room() > 0) for (let i = 0; i < 4096; i++) writer.put(1, key, ++put, put);
  expect(put).toBeGreaterThan((OVERLAY_GENERATIONS - 1) * 10_000);
  expect(reader.find(1, key)).toBe(put);
  writer.applied(put);
  expect(writer.room()).toBeGreaterThan(0);
});

test("a reader in another thread never sees a torn record, nor an old one, while generations come and go", async () => {
  const share = Overlay.allocate();
  const done = new SharedArrayBuffer(16);
  const thread = new Worker(new URL("../../test/support/overlay-thread.ts", import.meta.url));
  const said = <T>() => new Promise<T>((resolve) => thread.once("message", resolve));
  const reading = said<string>();
  thread.postMessage({ share, done });
  // A thread may take longer to start than all that follows.
  expect(await reading).toBe("reading");
  const result = said<{ looks: number; wrong: string[] }>();
  const words = new Int32Array(done);
  const writer = new OverlayWriter(share);
  const key = new RegisterKey();
  const until = performance.now() + 1500;
  let round = 0;
  let end = 0;
  while (performance.now() < until) {
    round++;
    // Every register gets the stamp of its round; the round is told only when all have it.
    for (let i = 0; i < 3000; i++) {
      key.set(`a/${i % 7}`, `u${i}`, writer.seed);
      writer.put(1, key, 2 * round + 1, ++end);
    }
    Atomics.store(words, 0, round);
    // As if the ledger had everything up to two rounds ago.
    writer.applied(end - 6000);
    Atomics.store(words, 1, Math.max(0, round - 2));
  }
  Atomics.store(words, 2, 1);
  const { looks, wrong } = await result;
  await thread.terminate();
  expect(wrong).toEqual([]);
  expect(looks).toBeGreaterThan(100);
  expect(isActive(2 * round + 1)).toBe(true);
});
