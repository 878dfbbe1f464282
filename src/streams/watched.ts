import type { Metric, Subject } from "../model.ts";
import type { PastPlace } from "../ports/hot-store.ts";
import { PastChanges } from "../tallies/past-changes.ts";
import { headOf } from "./events.ts";
import { type Followed, Follower } from "./follower.ts";

/** A count with those who follow it, each with its place there. */
export interface Watched extends Followed {
  readonly subject: Subject;
  readonly metric: Metric;
  readonly followers: Map<Follower, number>;
  /** Where its count was read last, where that is known. */
  place: PastPlace | null;
}

/** The watched counts of one subject, read together. The arrays are replaced, never changed: a read may be under way. */
export interface WatchedSubject {
  readonly subject: Subject;
  metrics: readonly Metric[];
  watched: readonly Watched[];
  /** Stands for `metrics`: subjects with the same are read in one call. */
  kinds: string;
}

/** Every count that some reader of this thread follows, once. */
export class WatchedCounts {
  readonly #subjects = new Map<Subject, WatchedSubject>();
  /** By PastChanges.keyOf. */
  readonly #byKey = new Map<number, Watched>();
  /** Counts of all followers together: a count that two follow is two. */
  #places = 0;

  get places(): number {
    return this.#places;
  }

  /** In no order; what comes or goes meanwhile may be in it or not. */
  all(): IterableIterator<WatchedSubject> {
    return this.#subjects.values();
  }

  /** A new follower of every metric of every subject, each named once, and what it follows. */
  join(subjects: readonly Subject[], metrics: readonly Metric[]): { follower: Follower; joined: WatchedSubject[] } {
    const joined = subjects.map((subject) => this.#subject(subject, metrics));
    const followed = joined.flatMap((at) => metrics.map((metric) => find(at, metric) as Watched));
    const follower = new Follower(followed);
    for (const [place, watched] of followed.entries()) watched.followers.set(follower, place);
    this.#places += followed.length;
    return { follower, joined };
  }

  /** A followed count has moved by something that is not told. */
  shift(key: number, delta: number): void {
    const watched = this.#byKey.get(key);
    if (watched) shift(watched, delta);
  }

  leave(follower: Follower): void {
    const all = follower.followed as readonly Watched[];
    this.#places -= all.length;
    for (const watched of all) {
      watched.followers.delete(follower);
      if (watched.followers.size > 0) continue;
      this.#byKey.delete(PastChanges.keyOf(watched.metric.id, watched.subject));
      const at = this.#subjects.get(watched.subject) as WatchedSubject;
      set(
        at,
        at.watched.filter((other) => other !== watched),
      );
      if (at.watched.length === 0) this.#subjects.delete(watched.subject);
    }
  }

  #subject(subject: Subject, metrics: readonly Metric[]): WatchedSubject {
    let at = this.#subjects.get(subject);
    if (!at) {
      at = { subject, metrics: [], watched: [], kinds: "" };
      this.#subjects.set(subject, at);
    }
    const known = at;
    const fresh = metrics.filter((metric) => !find(known, metric));
    if (fresh.length === 0) return known;
    const added = fresh.map((metric) => unread(subject, metric));
    for (const each of added) this.#byKey.set(PastChanges.keyOf(each.metric.id, subject), each);
    set(known, [...known.watched, ...added]);
    return known;
  }
}

/** The count has moved by something that is not told. */
export function shift(watched: Watched, delta: number): void {
  watched.count += delta;
  for (const [follower, place] of watched.followers) follower.shift(place, delta);
}

function find({ watched }: WatchedSubject, metric: Metric): Watched | undefined {
  return watched.find((other) => other.metric.id === metric.id);
}

function set(at: WatchedSubject, watched: readonly Watched[]): void {
  at.watched = watched;
  at.metrics = watched.map(({ metric }) => metric);
  at.kinds = at.metrics.map(({ id }) => id).join();
}

function unread(subject: Subject, metric: Metric): Watched {
  return { subject, metric, head: headOf(subject, metric.name), count: Number.NaN, followers: new Map(), place: null };
}
