import type { Subject } from "../model.ts";
import type { OnceKey } from "./counting.ts";

/**
 * Additions to counters that are at hand, many in a row and without a string for any of them.
 *
 *     enter → begin → (put … flush)* → leave        nothing is awaited in between, and the bytes stand still
 */
export interface HotAdds {
  enter(): void;
  leave(): void;
  /** Where the subjects of what follows stand. */
  begin(bytes: Uint8Array): void;
  /** Then `flush` comes before the next `put`. */
  readonly isFull: boolean;
  /** One addition more: the subject is `bytes[from, to)` and valid, `by` is 1 to 1,000,000. `line` comes back where it fails. */
  put(metric: number, from: number, to: number, by: number, line: number): void;
  /** Makes the additions. `left` hears of each that was not made: `Bulk.add` can, outside of the brackets. */
  flush(left: (metric: number, from: number, to: number, by: number, line: number) => void): void;
}

/**
 * One event of a source of its own, numbered 1, 2, 3 … in its shard. `void`: an event that counts nothing and has its
 * number all the same, so that the numbers of the others do not depend on why.
 */
export interface NumberedEvent {
  kind: "tally" | "relation" | "void";
  shard: number;
  n: number;
  metric: number;
  subject: Subject;
  /** A tally's amount; 0: a rule leaves it out. */
  by: number;
  /** A relation's actor and what it becomes. */
  actor: string;
  active: boolean;
  /** When it happened (milliseconds since 1970), as in `Counting.addOnce` and `relate`; null: now. */
  atMs: number | null;
}

/**
 * Ways in for many events at once.
 *
 * Promises:
 * - what `put` and `flush`, or `add`, have added is as safe as after `Counting.add`;
 * - `append` that has resolved: its events are durable, each of them once, however often and by whomever the source sends
 *   them again; and where it says true, they show as after `Counting.relate`. False: a store is away;
 * - Problem `unavailable` from `append`: some of them may be in the log. Sent again, none counts twice.
 */
export interface Bulk {
  readonly adds: HotAdds;
  /** `Counting.add` for those who ask for no count. */
  add(metric: number, subject: Subject, by: number): void | Promise<void>;
  /** Whether what was added in these two ways shows; false: the store that would show it is known to be away. */
  readonly isShown: boolean;
  /**
   * Takes a key of an upload: its own, or that of one of its blocks. Problem `key-reused` where it came with another body within
   * 10 minutes. Any number of times, by anybody. `upload`: the upload's own key; all that are given with it are kept together.
   */
  claim(upload: string, once: OnceKey): Promise<UploadClaim>;
  /**
   * By shard: up to which number events of a source were taken before, so that what else happens with an event need not
   * happen again. May be lower than it is, never higher.
   */
  taken(source: string): Promise<Float64Array>;
  /**
   * Events of one source, in the order in which it has numbered them: of each shard those that follow on the last `append`
   * (of anybody), or any that were given before. Every `append` of the source cuts its events at the same places.
   */
  append(upload: UploadSource, events: readonly NumberedEvent[]): Promise<boolean>;
}

/** A source, and the claim of the upload that it is part of. */
export interface UploadSource {
  source: string;
  claim: UploadClaim;
}

/** `isShown` false: a store is away. */
export interface UploadClaim {
  isShown: boolean;
  /** When the key was first taken, milliseconds since 1970: the same for all who take it. In a cluster its acts are of then. */
  began(): Promise<number>;
}

/** What names of such sources begin with; those of a node's runs are hexadecimal. */
export const UPLOAD = "u";

/** What the record of such a key stands under, in the place of a subject: a key is no counter's. */
export function claimName(upload: string): Subject {
  return `upload/${upload}`;
}

/** And in the place of a metric: the stores give none this number. */
export const NO_METRIC = 0;
