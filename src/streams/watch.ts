import { Problem, unavailable } from "../errors.ts";
import { Turns } from "../lib/turns.ts";
import {
  STREAM_BEAT_MS,
  STREAM_EVERY_MS,
  STREAM_PLACES_MAX,
  STREAM_READS_AT_ONCE,
  STREAM_READS_PER_S_MAX,
  STREAM_SLICE_MS,
  STREAM_STALL_MS_MAX,
  STREAMS_MAX,
} from "../limits.ts";
import type { Metric, Subject } from "../model.ts";
import type { Counting, Page, PageQuery } from "../ports/counting.ts";
import type { HotStore } from "../ports/hot-store.ts";
import type { PastChanges } from "../tallies/past-changes.ts";
import { eventId } from "./events.ts";
import type { Follower, Sink } from "./follower.ts";
import { leaveOutPast, type Read } from "./past-moves.ts";
import { WatchedCounts, type WatchedSubject } from "./watched.ts";

interface WatchParts {
  counting: Pick<Counting, "page">;
  /** What moves counts and is not told, where that can be known. */
  past?: PastChanges | undefined;
  /** The same in a cluster, behind the places of what was read. */
  pastSince?: HotStore["pastSince"] | undefined;
  /** How many streams are open, whenever it changes. */
  opened(streams: number): void;
  /** A read failed as none should. */
  failed(error: unknown): void;
}

/** A round that kept the thread for a time is followed by a pause of three times as long. */
const ROUND_SHARE = 4;
const SWEEP_MS = 500;
/** Timers are that exact: a round that comes a little early must not be one too early for all who were sent the last. */
const TIMER_MS = 5;

/** A read that a change of the past came into is tried again so often. */
const PAST_TRIES = 8;

/** What a round has cost so far. */
interface Cost {
  /** How long this thread did nothing else. */
  busyMs: number;
  /** Counts that had to be waited for: those of shared stores. */
  asked: number;
}

/**
 * The streams of one thread.
 *
 * Writers know nothing of streams. Every STREAM_EVERY_MS a *round* reads every followed count once, as any reader does,
 * whoever changed it; those that are not what they were are marked for their followers, who are sent the latest. So merging
 * and "at most 5 a second" come by themselves, and where nobody looks a change costs nothing.
 *
 * Reads come slice after slice (`#turns`), never two at once: what is read later is newer, so nobody is shown a count and
 * then one from before it. A new stream is read in a slice of its own, begun after it was asked for: it shows whatever was
 * answered before. Where a store is away a round keeps what it had: nothing is sent, and the first round that can be read
 * again tells what has changed.
 *
 * A round comes later the more is followed: it takes a quarter of the thread at most, and asks shared stores for at most
 * STREAM_READS_PER_S_MAX counts a second.
 */
export class Watch {
  readonly #parts: WatchParts;
  readonly #counts = new WatchedCounts();
  /** Each with the time of its last comment. */
  readonly #followers = new Map<Follower, number>();
  /** Those who may have something to be sent. */
  readonly #marked = new Set<Follower>();
  readonly #turns = new Turns();
  #rounds: ReturnType<typeof setTimeout> | undefined;
  #sweeps: ReturnType<typeof setInterval> | undefined;
  /** When the last round was sent. */
  #sentMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /**
   * A reader of every metric of every subject, each named once. Its counts are read by now and sent once it is attached.
   * Rejects with `unavailable` where they cannot be read, or where there is no room.
   */
  async open(subjects: readonly Subject[], metrics: readonly Metric[]): Promise<Follower> {
    const done = await this.#takeTurn();
    try {
      this.#refuse(subjects.length * metrics.length);
      const { follower, joined } = this.#counts.join(subjects, metrics);
      this.#followers.set(follower, performance.now());
      this.#changed();
      const failure = await this.#readJoined(joined);
      if (failure === undefined && this.#followers.has(follower)) return follower;
      this.close(follower);
      throw failure ?? stopping();
    } finally {
      done();
    }
  }

  /** The reader's events go there, its first counts at once. */
  attach(follower: Follower, sink: Sink): void {
    if (this.#followers.has(follower)) follower.attach(sink, eventId(), performance.now());
    else sink.end();
  }

  /** The sink that was full has room again. */
  drained(follower: Follower): void {
    if (this.#followers.has(follower)) follower.drained(eventId(), performance.now());
  }

  /** The reader has gone, or is to go. */
  close(follower: Follower): void {
    if (!this.#followers.delete(follower)) return;
    this.#marked.delete(follower);
    this.#counts.leave(follower);
    this.#changed();
    follower.end();
  }

  /** Ends every stream: its readers come back, to another node or to the next run. */
  closeAll(): void {
    this.#isClosed = true;
    for (const follower of [...this.#followers.keys()]) this.close(follower);
  }

  #refuse(places: number): void {
    if (this.#isClosed) throw stopping();
    if (this.#followers.size >= STREAMS_MAX) throw unavailable(`${STREAMS_MAX} streams are open on this thread`, 10);
    if (this.#counts.places + places > STREAM_PLACES_MAX)
      throw unavailable(`the streams of this thread would follow more than ${STREAM_PLACES_MAX} counts`, 10);
  }

  /** Rounds and sweeps are there while there are streams. */
  #changed(): void {
    const { size } = this.#followers;
    this.#parts.opened(size);
    if (size > 0 && this.#sweeps === undefined) {
      this.#sweeps = setInterval(() => this.#sweep(), SWEEP_MS);
      this.#plan(STREAM_EVERY_MS);
    } else if (size === 0) {
      clearInterval(this.#sweeps);
      clearTimeout(this.#rounds);
      this.#sweeps = undefined;
      this.#rounds = undefined;
    }
  }

  // Rounds

  #plan(inMs: number): void {
    this.#rounds = setTimeout(() => void this.#round(), inMs);
  }

  async #round(): Promise<void> {
    const timer = this.#rounds;
    const beganMs = performance.now();
    const cost: Cost = { busyMs: 0, asked: 0 };
    let readMs = 0;
    try {
      const all = this.#counts.all();
      for (let isMore = true; isMore; ) {
        const done = await this.#takeTurn();
        try {
          ({ isMore } = await this.#slice(all, cost));
        } finally {
          done();
        }
        await othersFirst();
      }
      readMs = performance.now() - beganMs;
      // A round that was read faster than the one before must not be sent sooner after it.
      const earlyMs = this.#sentMs + STREAM_EVERY_MS - TIMER_MS - performance.now();
      if (earlyMs > 0) await Bun.sleep(Math.ceil(earlyMs));
      this.#sentMs = performance.now();
      await this.#send(this.#sentMs, cost);
    } catch (error) {
      this.#parts.failed(error);
    }
    // All have gone meanwhile: whoever came then has begun rounds of its own.
    if (this.#rounds !== timer) return;
    const restMs = Math.max(STREAM_EVERY_MS, ROUND_SHARE * cost.busyMs, (1000 * cost.asked) / STREAM_READS_PER_S_MAX);
    // Begun so that it can be sent when the rest is over.
    const nextMs = Math.max(beganMs, this.#sentMs - readMs) + restMs;
    this.#plan(Math.max(0, Math.ceil(nextMs - performance.now())));
  }

  async #send(nowMs: number, cost: Cost): Promise<void> {
    const id = eventId();
    let beganMs = performance.now();
    for (const follower of this.#marked) {
      if (follower.begin(id, nowMs, STREAM_EVERY_MS - TIMER_MS)) this.#marked.delete(follower);
      if (performance.now() - beganMs < STREAM_SLICE_MS) continue;
      cost.busyMs += performance.now() - beganMs;
      await othersFirst();
      beganMs = performance.now();
    }
    cost.busyMs += performance.now() - beganMs;
  }

  // Reads

  async #readJoined(joined: readonly WatchedSubject[]): Promise<unknown> {
    const all = joined.values();
    const cost: Cost = { busyMs: 0, asked: 0 };
    for (;;) {
      const { isMore, failure } = await this.#slice(all, cost);
      if (failure !== undefined || !isMore) return failure;
      await othersFirst();
    }
  }

  /** Reads as many as keep this thread, or the stores, for a moment. The failure is that of one of them. */
  async #slice(all: Iterator<WatchedSubject>, cost: Cost): Promise<{ isMore: boolean; failure: unknown }> {
    const beganMs = performance.now();
    const { alike, isMore } = take(all);
    let failure: unknown;
    const waiting: Promise<Read | { error: unknown }>[] = [];
    for (const subjects of alike.values()) {
      try {
        const reading = this.#read(subjects, cost);
        if (reading !== null) waiting.push(reading.catch((error) => ({ error })));
      } catch (error) {
        failure = this.#failure(error);
      }
    }
    cost.busyMs += performance.now() - beganMs;
    const reads: Read[] = [];
    for (const each of await Promise.all(waiting)) {
      if ("error" in each) failure = this.#failure(each.error);
      else reads.push(each);
    }
    try {
      const { pastSince } = this.#parts;
      if (pastSince) await leaveOutPast(reads, { pastSince, failed: this.#parts.failed });
      for (const each of reads) this.#take(each);
    } catch (error) {
      failure = this.#failure(error);
    }
    return { isMore, failure };
  }

  #read(alike: readonly WatchedSubject[], cost: Cost): Promise<Read> | null {
    const { metrics } = alike[0] as WatchedSubject;
    // As they are now: readers may come and go while we wait.
    const watched = alike.map(({ watched }) => watched);
    const subjects = alike.map(({ subject }) => subject);
    const places = this.#parts.pastSince !== undefined;
    const page = this.#page({ subjects, metrics, actor: null, known: null, places });
    if (!(page instanceof Promise)) {
      this.#take({ watched, page });
      return null;
    }
    cost.asked += subjects.length * metrics.length;
    return page.then((page) => ({ watched, page }));
  }

  /** Counts that hold just the past changes that are known here; while they rain, the last try must do. */
  #page(query: PageQuery): Page | Promise<Page> {
    const { counting, past } = this.#parts;
    for (let tries = 1; ; tries++) {
      const sequence = past?.look((key, delta) => this.#counts.shift(key, delta));
      const page = counting.page(query);
      if (sequence === undefined || past?.isStill(sequence) || tries === PAST_TRIES) return page;
    }
  }

  #take({ watched: all, page: { counts, places } }: Read): void {
    let at = 0;
    for (const watched of all) {
      for (const known of watched) {
        if (places) known.place = places[at] ?? null;
        const count = counts[at++] as number;
        if (count === known.count) continue;
        known.count = count;
        for (const [follower, place] of known.followers) {
          follower.mark(place);
          this.#marked.add(follower);
        }
      }
    }
  }

  #failure(error: unknown): unknown {
    if (!(error instanceof Problem)) this.#parts.failed(error);
    return error;
  }

  #takeTurn(): Promise<() => void> {
    return this.#turns.take("read");
  }

  // Connections

  #sweep(): void {
    const nowMs = performance.now();
    for (const [follower, beatMs] of this.#followers) {
      // It comes back when it can, and is sent the latest.
      if (follower.stalledMs(nowMs) > STREAM_STALL_MS_MAX) this.close(follower);
      else if (nowMs - beatMs >= STREAM_BEAT_MS - SWEEP_MS) {
        this.#followers.set(follower, nowMs);
        follower.beat(nowMs);
      }
    }
  }
}

/** The next ones, together with those of the same metrics. */
function take(all: Iterator<WatchedSubject>): { alike: Map<string, WatchedSubject[]>; isMore: boolean } {
  const alike = new Map<string, WatchedSubject[]>();
  for (let counts = 0; counts < STREAM_READS_AT_ONCE; ) {
    const next = all.next();
    if (next.done) return { alike, isMore: false };
    const { kinds, metrics } = next.value;
    const others = alike.get(kinds);
    if (others) others.push(next.value);
    else alike.set(kinds, [next.value]);
    counts += metrics.length;
  }
  return { alike, isMore: true };
}

function stopping(): Problem {
  return unavailable("the server is stopping: open the stream again, and another one answers");
}

/** Requests that have come meanwhile. */
function othersFirst(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
