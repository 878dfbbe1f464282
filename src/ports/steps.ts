type Awaitable<T> = T | Promise<T>;

/** A frame of rankings/changes.ts; what was saved later has a higher number. */
export interface StoredFrame {
  id: number;
  frame: Buffer;
}

export interface StepFrame {
  /** The first second of its step. */
  at: number;
  frame: Buffer;
}

/** What frames up to that number have of a subject is another one's, or (empty) nobody's. */
export interface Renamed {
  subject: string;
  becomes: string;
  upTo: number;
}

/** What a ranker begins with, all of one snapshot and in this order. False: no more steps, or counts, are needed. */
export interface Beginning {
  /** In the order in which it happened. */
  renamed(all: Renamed[]): void;
  /** Changes of past steps: of minutes, or of whole hours. */
  step(frame: StoredFrame, isHour: boolean): boolean;
  /** Changes that are in no step yet. */
  change(frame: Buffer): void;
  /** A count as it is, all changes in it. */
  count(metric: number, subject: string, count: number): boolean;
}

/**
 * The changes that the ledger has kept for rankings: first as the projector wrote them, batch by batch, then by steps.
 *
 * Promises:
 * - every change that the ledger has is in exactly one of the two;
 * - `begin` sees both and the counts as of one commit, and `changes` goes on behind it, in the order of the commits, each once;
 * - `save` and `replaceHour` are all or nothing.
 */
export interface Steps {
  /** Everything from `from` on (seconds since 1970). */
  begin(from: number, beginning: Beginning): Awaitable<void>;
  /** Frames of the changes that came since the call before, some megabytes at most; none: there are none. */
  changes(): Awaitable<Buffer[]>;
  /**
   * All changes that were told are in these frames and in those saved before. What has been renamed since the last call is so in
   * `frames`; it is to be remembered of the others.
   */
  save(frames: readonly StepFrame[], renames: readonly [subject: string, becomes: string][]): Awaitable<Renamed[]>;
  /** The frames of the steps that begin in this time. */
  read(from: number, to: number): Awaitable<StoredFrame[]>;
  /** An hour that ends before `before` and has frames of minutes, or null. */
  oldHour(before: number): Awaitable<number | null>;
  /** All frames of that hour become these. */
  replaceHour(hour: number, frames: readonly Buffer[]): Awaitable<void>;
  /** Forgets a slice of the steps before it; false: there are none. */
  forget(before: number): Awaitable<boolean>;
  close(): Awaitable<void>;
}
