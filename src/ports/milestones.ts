import type { Subject } from "../model.ts";

/** Which counts of a metric are told to whom. */
export interface MilestoneRule {
  metric: number;
  url: string;
  /** Rising. */
  at: readonly number[];
}

/** A count has reached one of them. */
interface Milestone {
  metric: number;
  subject: Subject;
  threshold: number;
  url: string;
  /** What it was when that was seen. */
  count: number;
  /** Milliseconds since 1970. */
  atMs: number;
}

/** A milestone that is still to be told. */
export interface Untold extends Milestone {
  /** The metric's. */
  name: string;
  /** How often it was tried before. */
  tries: number;
}

/**
 * The ledger's milestones, which its projector has put there in the transaction that reached them.
 *
 * Promises:
 * - what was taken is given to nobody else for `leaseMs`, and after that again, unless one of the two others was called;
 * - a milestone that was told, or given up, is never taken again, nor reached again.
 */
export interface MilestoneBox {
  /** Some of what is due for the URL, the longest due first. */
  take(url: string, now: { nowMs: number; leaseMs: number; limit: number }): Promise<Untold[]>;
  /** It was told, or (null) will never be: try again at `dueMs`. */
  settle(milestone: Untold, dueMs: number | null): Promise<void>;
  /** How many are still to be told, to whatever URL. */
  waiting(): Promise<number>;
}
