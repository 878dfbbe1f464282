import type { Place } from "../arithmetic/place.ts";
import type { Code } from "../distinct/code.ts";
import type { Distinct } from "../distinct/sketches.ts";
import type { Actor, Metric, RelationState, Subject } from "../model.ts";
import type { Bulk } from "./bulk.ts";
import type { PastPlace } from "./hot-store.ts";

/** Names one act so that a repeat is known: scope (caller, method, path) and key folded into one, and the body's hash. */
export interface OnceKey {
  /** 128 bits, 32 hex digits: hash of caller, method, path and the Idempotency-Key. */
  key: string;
  /** 64 bits, 16 hex digits: hash of the body. */
  body: string;
}

export interface ListItem {
  /** The actor or the subject, by the list. */
  id: string;
  /** Milliseconds since 1970. */
  at: number;
  /** The register's stamp: with the id its place in the list, and so the cursor. */
  stamp: number;
}

export interface ListPage {
  items: ListItem[];
  /** Whether more follow the last item. */
  more: boolean;
}

export interface ListQuery {
  limit: number;
  /** Only items behind it. */
  before?: Place;
  /** Only subjects of this type (lists of subjects). */
  type?: string;
}

/** A page: what one request asks of many subjects. */
export interface PageQuery {
  /** Each once. */
  subjects: readonly Subject[];
  metrics: readonly Metric[];
  /** Whose relations are asked for, null: nobody's. */
  actor: Actor | null;
  /** Whom the actor follows: whose `relation` he has active on `type/…`. Null: not asked for; needs an actor. */
  known: Known | null;
  /** For streams: where each count was read, so that what is no news can be left out. */
  places?: boolean;
}

export interface Known {
  relation: Metric;
  type: string;
}

/** Those whom somebody follows among the active actors of a relation. */
export interface KnownActors {
  count: number;
  /** The first KNOWN_NAMES of them in the order of the subject's list: newest first. */
  actors: Actor[];
}

/** Three lists, subject by subject, in each in the order of the metrics; `mine` and `known` of relations only. */
export interface Page {
  counts: number[];
  mine: boolean[];
  known: KnownActors[];
  /** Of each count, where it was asked for and there are such; null where it is not known. */
  places?: (PastPlace | null)[];
}

/** The subjects that show a count above 0, in the order of their bytes. */
export interface CountedQuery {
  /** Only of this type. */
  type?: string;
  /** Only those behind it; empty: from the first. */
  after: Subject;
  limit: number;
  /** Of these metrics. */
  metrics: readonly Metric[];
}

export interface CountedPage {
  subjects: Subject[];
  /** Where to go on behind, null at the end. There may be more although the page is not full. */
  next: Subject | null;
}

/** What an act on a relation came to: `count` and `changed` are null together. */
export interface Related {
  active: boolean;
  changed: boolean | null;
  count: number | null;
  /** Milliseconds since 1970, null where the actor never acted. */
  at: number | null;
}

/**
 * What the request handlers of one thread ask for; one implementation for each deployment.
 *
 * Promises:
 * - input is already checked: metrics are configured and of the right kind, ids are valid;
 * - `add` that has returned (or resolved) survives SIGKILL of the process and shows on every thread;
 * - `relate` and `addOnce` that have resolved are durable and show on every thread, lists included; in a cluster on every
 *   node, where they tell the count;
 * - a count of null: durable, and it will show by itself, but a store is away and what it shows now is not known;
 * - a Problem `unavailable` from `add` or `addOnce` means not counted; from `relate` it may or may not have taken effect;
 * - reads never create counters, and never guess: what cannot be known is `unavailable`.
 *
 * Methods that usually need not wait return their value bare; a promise only where they must wait.
 */
export interface Counting {
  /** For `POST /v1/events`. */
  readonly bulk: Bulk;
  /** Adds `by` (1–1,000,000) to a tally; the count it shows now. */
  add(metric: Metric, subject: Subject, by: number): number | Promise<number | null>;
  /**
   * The same as a record of its own: with `once` counted once for each key in 10 minutes (a repeat gets the current count;
   * another body: Problem `key-reused`), with `atMs` in the history's step of that time. By 0 with `once`: only takes the key.
   */
  addOnce(
    metric: Metric,
    subject: Subject,
    by: number,
    once?: OnceKey,
    atMs?: number,
    visitor?: Code,
  ): Promise<number | null>;
  /**
   * A visitor of a distinct tally counts: to be called before what he counts is added (`addOnce` takes him along). Returns or
   * resolves when he is in the sketches for good; a Problem `unavailable` says that he may not be, and nothing may be added.
   */
  visit(metric: Metric, subject: Subject, visitor: Code): undefined | Promise<undefined>;
  /** How many different visitors there were, of a distinct tally. */
  distinct(metric: Metric, subject: Subject): Distinct | Promise<Distinct>;
  /**
   * Sets one relation. A repeat is `changed: false` with the stored `at`. With `once`, a repeated key changes nothing. With
   * `atMs` it happened then: what is stored stays if it is of that millisecond or newer, and is replaced if it is older.
   */
  relate(
    metric: Metric,
    subject: Subject,
    actor: Actor,
    active: boolean,
    once?: OnceKey,
    atMs?: number,
  ): Promise<Related>;
  /** One relation and the count. `at` is null unless it is active. */
  relation(metric: Metric, subject: Subject, actor: Actor): RelationState | Promise<RelationState>;
  /** The counts of one subject, in the order of `metrics`. */
  counts(subject: Subject, metrics: readonly Metric[]): number[] | Promise<number[]>;
  /** Which of `metrics` (relations) the actor has active on the subject, in their order, by name. */
  mine(subject: Subject, actor: Actor, metrics: readonly Metric[]): string[] | Promise<string[]>;
  /** What `counts` and `mine` would say of each subject, and who is known, in one look at each store. */
  page(query: PageQuery): Page | Promise<Page>;
  /** The active actors of a relation, newest first. */
  actors(metric: Metric, subject: Subject, query: ListQuery): ListPage | Promise<ListPage>;
  /** On how many subjects the actor has each relation active, in the order of `metrics`; with `type`, of that type only. */
  actorCounts(actor: Actor, metrics: readonly Metric[], type?: string): number[] | Promise<number[]>;
  /** The subjects on which the actor has the relation active, newest first. */
  subjects(metric: Metric, actor: Actor, query: ListQuery): ListPage | Promise<ListPage>;
  /** All subjects that show a count above 0, page by page. */
  counted(query: CountedQuery): CountedPage | Promise<CountedPage>;
}
