import { afterEach, expect, test } from "bun:test";
import { eventually } from "../../test/support/eventually.ts";
import { unavailable } from "../errors.ts";
import { STREAM_EVERY_MS, STREAM_PLACES_MAX } from "../limits.ts";
import type { Metric } from "../model.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import type { Sink } from "./follower.ts";
import { Watch } from "./watch.ts";

const LIKES: Metric = { id: 2, name: "likes", kind: "relation" };
const VIEWS: Metric = { id: 1, name: "views", kind: "tally" };

/** A connection that takes so much, and no more before it is emptied. */
class Pipe implements Sink {
  text = "";
  room = Number.POSITIVE_INFINITY;
  writes = 0;
  isEnded = false;

  write(text: string): boolean {
    if (this.isEnded) throw new Error("written after its end");
    if (this.room <= 0) throw new Error("written while it is full");
    this.writes++;
    this.text += text;
    this.room -= text.length;
    return this.room > 0;
  }

  end(): void {
    this.isEnded = true;
  }

  get counts(): [string, number][] {
    return Array.from(this.text.matchAll(/^data: (.*)$/gm), ([, json]) => {
      const { subject, count } = JSON.parse(json as string);
      return [subject, count];
    });
  }
}

const opened: Watch[] = [];
afterEach(() => {
  for (const watch of opened.splice(0)) watch.closeAll();
});

function open({ waiting = false } = {}) {
  const counts = new Map<string, number>();
  const state = { streams: 0, reads: 0, away: false, failures: [] as unknown[] };
  const watch = new Watch({
    counting: {
      page({ subjects, metrics }) {
        state.reads++;
        const read = () => {
          if (state.away) throw unavailable("the store is away");
          const all = subjects.flatMap((subject) => metrics.map(({ name }) => counts.get(`${subject} ${name}`) ?? 0));
          return { counts: all, mine: [], known: [] };
        };
        return waiting ? Promise.resolve().then(read) : read();
      },
    },
    opened: (streams) => {
      state.streams = streams;
    },
    failed: (error) => state.failures.push(error),
  });
  opened.push(watch);
  const set = (subject: string, count: number) => counts.set(`${subject} likes`, count);
  const follow = async (subjects: string[], pipe = new Pipe()) => {
    const follower = await watch.open(subjects, [LIKES]);
    watch.attach(follower, pipe);
    return { follower, pipe };
  };
  return { watch, state, set, follow };
}

/** A shard of a shared store: its counts move, and what moves them as of another time is told beside it. */
class SharedShard {
  readonly counts = new Map<string, number>();
  epoch = "one";
  told: [count: string, by: number][] = [];
  /** Moves that are not known any more. */
  forgotten = 0;
  isAway = false;
  isMute = false;
  asked = 0;
  readonly watch: Watch;

  constructor(failed: (error: unknown) => void) {
    this.watch = new Watch({
      counting: {
        page: async ({ subjects, places }) => {
          expect(places).toBe(true);
          // As read in one step, before anybody asks what was told.
          const counts = subjects.map((subject) => this.counts.get(subject) ?? 0);
          const place = this.isAway ? null : { shard: 3, epoch: this.epoch, number: this.told.length };
          return { counts, mine: [], known: [], places: counts.map(() => place) };
        },
      },
      pastSince: async (spans) => {
        this.asked++;
        if (this.isAway || this.isMute) throw new HotStoreAway("away");
        return spans.map(({ epoch, from, to }) => {
          if (epoch !== this.epoch) return null;
          const first = Math.max(from, this.forgotten);
          return { first: first + 1, moves: this.told.slice(first, to) };
        });
      },
      opened: () => undefined,
      failed,
    });
    opened.push(this.watch);
  }

  move(subject: string, by: number, { past = false } = {}): void {
    this.counts.set(subject, (this.counts.get(subject) ?? 0) + by);
    if (past) this.told.push([`2:${subject}`, by]);
  }

  async follow(...subjects: string[]): Promise<Pipe> {
    const pipe = new Pipe();
    this.watch.attach(await this.watch.open(subjects, [LIKES]), pipe);
    return pipe;
  }
}

const rounds = (n: number) => Bun.sleep(n * STREAM_EVERY_MS + 60);

test.each([false, true])("tells what changes, once; waiting: %p", async (waiting) => {
  const { set, follow } = open({ waiting });
  set("a/1", 5);
  const { pipe } = await follow(["a/1", "a/2"]);
  expect(pipe.counts).toEqual([
    ["a/1", 5],
    ["a/2", 0],
  ]);
  set("a/2", 7);
  await eventually(async () => expect(pipe.counts.slice(2)).toEqual([["a/2", 7]]));
  await rounds(2);
  expect(pipe.writes).toBe(2);
});

test("what changes and changes back is not told", async () => {
  const { set, follow } = open();
  const pipe = new Pipe();
  pipe.room = 1;
  const { follower } = await follow(["a/1"], pipe);
  expect(pipe.counts).toEqual([["a/1", 0]]);
  // Who is told of it at once shows that a round has seen it.
  const quick = (await follow(["a/1"])).pipe;
  for (const count of [1, 0]) {
    set("a/1", count);
    await eventually(async () => expect(quick.counts.at(-1)).toEqual(["a/1", count]));
    expect(quick.counts.length).toBe(3 - count);
  }
  pipe.room = 1_000;
  opened[0]?.drained(follower);
  await rounds(2);
  expect(pipe.counts).toEqual([["a/1", 0]]);
});

test("a reader that is full is sent nothing, and then the latest alone", async () => {
  const { watch, set, follow } = open();
  const slow = new Pipe();
  slow.room = 1;
  const subjects = Array.from({ length: 50 }, (_, i) => `a/${i}`);
  const { follower } = await follow(subjects, slow);
  const quick = (await follow(["a/7"])).pipe;
  expect(slow.writes).toBe(1);
  for (let i = 1; i <= 3; i++) {
    for (const subject of subjects) set(subject, i);
    await eventually(async () => expect(quick.counts.at(-1)).toEqual(["a/7", i]));
  }
  expect(quick.counts.map(([, count]) => count)).toEqual([0, 1, 2, 3]);
  expect(slow.writes).toBe(1);
  slow.room = 100_000;
  watch.drained(follower);
  await eventually(async () => expect(slow.counts.length).toBe(100));
  expect(slow.counts.slice(50)).toEqual(subjects.map((subject) => [subject, 3]));
});

test("a long snapshot goes in pieces, each when the last is taken, and marks meanwhile wait for the next pass", async () => {
  const { watch, set, follow } = open();
  const pipe = new Pipe();
  pipe.room = 1;
  const subjects = Array.from({ length: 1_000 }, (_, i) => `a/${"x".repeat(100)}${i}`);
  const { follower } = await follow(subjects, pipe);
  const first = pipe.counts.length;
  expect(first).toBeGreaterThan(100);
  expect(first).toBeLessThan(600);
  const told = pipe.counts[0]?.[0] as string;
  const later = subjects[999] as string;
  const quick = (await follow([told, later])).pipe;
  set(told, 1);
  set(later, 1);
  await eventually(async () => expect(quick.counts.length).toBe(4));
  expect(pipe.counts.length).toBe(first);
  while (pipe.counts.length < 1_000) {
    pipe.room = 1;
    watch.drained(follower);
  }
  expect(pipe.counts.at(-1)).toEqual([later, 1]);
  expect(pipe.counts.length).toBe(1_000);
  pipe.room = 100_000;
  watch.drained(follower);
  await eventually(async () => expect(pipe.counts.slice(1_000)).toEqual([[told, 1]]));
});

test("leaves out what its shard tells of another time, and nothing else", async () => {
  const failures: unknown[] = [];
  const shard = new SharedShard((error) => failures.push(error));
  shard.move("a/1", 5, { past: true });
  const pipe = await shard.follow("a/1", "a/2");
  const late = await shard.follow("a/2");
  expect(shard.asked).toBe(0);
  shard.move("a/1", 3, { past: true });
  shard.move("a/1", -1, { past: true });
  shard.move("a/2", 1);
  await eventually(async () => expect(pipe.counts.slice(2)).toEqual([["a/2", 1]]));
  await rounds(2);
  // No place has moved since, so nobody was asked again.
  expect(shard.asked).toBe(1);
  // Together with one of now the whole is told, and where both come to nothing together, too.
  shard.move("a/1", 4, { past: true });
  shard.move("a/1", -4);
  await eventually(async () => expect(pipe.counts.slice(3)).toEqual([["a/1", 7]]));
  const newcomer = await shard.follow("a/1");
  expect(newcomer.counts).toEqual([["a/1", 7]]);
  shard.move("a/1", 2, { past: true });
  await rounds(2);
  expect(newcomer.counts.length).toBe(1);
  shard.move("a/1", 1);
  await eventually(async () => expect(newcomer.counts.slice(1)).toEqual([["a/1", 10]]));
  expect(pipe.counts.slice(4)).toEqual([["a/1", 10]]);
  expect(late.counts).toEqual([
    ["a/2", 0],
    ["a/2", 1],
  ]);
  expect(failures).toEqual([]);
});

test("what cannot be known is told: of another epoch, forgotten, or from a time without the store", async () => {
  const failures: unknown[] = [];
  const shard = new SharedShard((error) => failures.push(error));
  const pipe = await shard.follow("a/1");
  const toldNext = (count: number) =>
    eventually(async () => expect(pipe.counts.at(-1)).toEqual(["a/1", count] as [string, number]));
  shard.move("a/1", 1, { past: true });
  shard.epoch = "two";
  await toldNext(1);
  shard.forgotten = 2;
  shard.move("a/1", 1, { past: true });
  await toldNext(2);
  // Gone between the two questions: nothing is told, and when it is back all is known.
  shard.isMute = true;
  shard.move("a/1", 1, { past: true });
  await rounds(1);
  expect(await shard.watch.open(["a/1"], [LIKES]).catch((error) => error.code)).toBe("unavailable");
  shard.isMute = false;
  await rounds(2);
  expect(pipe.counts.length).toBe(3);
  shard.isAway = true;
  await rounds(1);
  shard.move("a/1", 1, { past: true });
  await toldNext(4);
  shard.move("a/1", 1, { past: true });
  shard.isAway = false;
  await toldNext(5);
  // And then it is known again.
  shard.move("a/1", 1, { past: true });
  await rounds(2);
  expect(pipe.counts.length).toBe(5);
  expect(failures).toEqual([]);
});

test("is quiet while a store is away, and goes on with what changed", async () => {
  const { state, set, follow } = open({ waiting: true });
  const { pipe } = await follow(["a/1", "a/2"]);
  state.away = true;
  set("a/1", 3);
  expect(await follow(["a/3"]).catch((error) => error.code)).toBe("unavailable");
  await rounds(2);
  expect(pipe.counts.length).toBe(2);
  expect(state.streams).toBe(1);
  state.away = false;
  await eventually(async () => expect(pipe.counts.slice(2)).toEqual([["a/1", 3]]));
  expect(state.failures).toEqual([]);
});

test("reads each count once for all who follow it, and none when they have gone", async () => {
  const { watch, state, follow } = open();
  const readers = [];
  for (let i = 0; i < 10; i++) readers.push(await follow(["a/1"]));
  state.reads = 0;
  const began = performance.now();
  await eventually(async () => expect(state.reads).toBeGreaterThanOrEqual(3));
  // However long this thread did something else: one read for each round there was time for, and the one under way.
  expect(state.reads).toBeLessThanOrEqual(Math.ceil((performance.now() - began) / (STREAM_EVERY_MS - 10)) + 1);
  for (const { follower } of readers) watch.close(follower);
  state.reads = 0;
  await rounds(2);
  expect(state.reads).toBe(0);
  expect(state.streams).toBe(0);
  expect(readers.every(({ pipe }) => pipe.isEnded)).toBe(true);
});

test("metrics of one subject come and go with their readers", async () => {
  const { watch, set, follow } = open();
  const likes = await follow(["a/1"]);
  const views = await watch.open(["a/1"], [VIEWS, LIKES]);
  const pipe = new Pipe();
  watch.attach(views, pipe);
  watch.close(likes.follower);
  set("a/1", 4);
  await eventually(async () => expect(pipe.counts.at(-1)).toEqual(["a/1", 4]));
  watch.close(views);
  watch.close(views);
});

test("has a bound for counts, and refuses while it closes", async () => {
  const { watch, state } = open();
  const many = Array.from({ length: STREAM_PLACES_MAX / 100 }, (_, i) => `a/${i}`);
  const metrics = Array.from({ length: 60 }, (_, i): Metric => ({ id: i + 1, name: `m${i}`, kind: "tally" }));
  const first = await watch.open(many, metrics);
  expect(await watch.open(many, metrics).catch((error) => error.code)).toBe("unavailable");
  expect(state.streams).toBe(1);
  watch.close(first);
  const again = await watch.open(many, metrics);
  const pipe = new Pipe();
  watch.attach(again, pipe);
  watch.closeAll();
  expect(pipe.isEnded).toBe(true);
  expect(await watch.open(["a/1"], [LIKES]).catch((error) => error.code)).toBe("unavailable");
});
