import type { Stamp } from "../arithmetic/stamp.ts";
import type { Actor, Metric, MetricKind, Subject } from "../model.ts";

type Each<T> = Iterable<T> | AsyncIterable<T>;

/** A tally in the hours it was counted in. */
export interface TallyRow {
  metric: string;
  subject: Subject;
  /** First second of the hour since 1970, rising; 0: before all hours that are kept. None is 0, a sum below 0 is none. */
  steps: [at: number, amount: number][];
  /** The sketch of all its visitors (distinct/sketch.ts, as bytes), where it has one. */
  visitors?: Uint8Array;
}

/** A register, one that is not active included: it keeps older acts from coming back. */
export interface RelationRow {
  metric: string;
  subject: Subject;
  actor: Actor;
  stamp: Stamp;
}

/**
 * All that a ledger has, as of one moment.
 *
 * Promises: every act answered before `open` had resolved is in it, or it says that it cannot know; rows come by subject
 * and metric (tallies) and by actor, subject and metric (relations), ids by their bytes and metrics by name; memory stays
 * bounded however many there are.
 */
export interface ExportSource {
  readonly metrics: readonly { name: string; kind: MetricKind }[];
  tallies(): Each<TallyRow>;
  relations(): Each<RelationRow>;
  close(): void | Promise<void>;
}

/**
 * Where numbered records go that come from outside.
 *
 * Promises: a frame whose `append` has resolved is durable; its records count once for each source, shard and number, however
 * often they are sent; what is sent after `last` was asked must go on there, without gaps; after `finish` every read shows
 * them.
 */
export interface ImportTarget {
  readonly metrics: readonly Metric[];
  /** The subject types that exist there; null: any. */
  readonly types: readonly string[] | null;
  /** A frame holds records of shards that are equal modulo this. */
  readonly partitions: number;
  /** The last number taken of each of the 256 shards. */
  last(source: string): Promise<readonly number[]>;
  append(frame: Uint8Array, partition: number): Promise<void>;
  finish(): Promise<void>;
  close(): Promise<void>;
}
