/** A partition that is read here: where it ends as far as known, and up to where the ledger has it. */
export interface PartitionRead {
  end: number;
  applied: number;
}

/** The oldest is what counts: of so many the second is forgotten. */
const SEEN_MAX = 1_000;

/**
 * For how long the oldest message that is not applied has been known, from looks at where partitions end. What is not read
 * here does not wait here: another projector may have it. It is kept in mind all the same, as it may come back unread.
 */
export class LagClock {
  /** By partition, oldest first: when it was first seen to end there. What is applied is gone. */
  readonly #seen = new Map<number, { atMs: number; end: number }[]>();

  /** What is read now; the age in milliseconds, 0 where all of it is applied. */
  look(nowMs: number, read: ReadonlyMap<number, PartitionRead>): number {
    let oldestMs = nowMs;
    for (const [partition, { end, applied }] of read) {
      let seen = this.#seen.get(partition) ?? [];
      // A log that was made again or cut: what was seen of the one before says nothing.
      if ((seen.at(-1)?.end ?? 0) > end) seen = [];
      seen = seen.filter((sample) => sample.end > applied);
      if (end > (seen.at(-1)?.end ?? applied)) seen.push({ atMs: nowMs, end });
      if (seen.length > SEEN_MAX) seen.splice(1, 1);
      this.#seen.set(partition, seen);
      oldestMs = Math.min(oldestMs, seen[0]?.atMs ?? nowMs);
    }
    return nowMs - oldestMs;
  }
}
