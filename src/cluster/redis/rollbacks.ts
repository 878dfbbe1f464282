import type { ShardHead } from "../../ports/hot-store.ts";

/** Former epochs remembered of each shard; a new one begins only when data was lost. */
const FORMER_MAX = 16;

/** The newest head seen of a shard. Never changed, so that a call can keep what was seen before it was sent. */
export interface Seen {
  readonly epoch: string;
  readonly incarnation: string;
  readonly version: number;
  readonly former: readonly string[];
}

/**
 * A version that goes back within an epoch, or an epoch that returns, tells that the store has lost data, too: behind a
 * REST interface nothing else may. Once somebody has renewed the shard its epoch is one that was never seen before, and
 * the lower version is right.
 *
 * Answers may overtake each other, so each is compared with what had been seen when its call was sent.
 */
export class Rollbacks {
  readonly #seen: (Seen | undefined)[] = [];
  /** The epoch that each shard was last found rolled back in. */
  readonly #back: (string | undefined)[] = [];

  seen(shard: number): Seen | undefined {
    return this.#seen[shard];
  }

  /** Whether this head, asked for after `before` had been seen, is older than that. */
  isBack(shard: number, head: ShardHead, before: Seen | undefined): boolean {
    if (before && isOlder(head, before)) {
      this.#back[shard] = head.epoch;
      return true;
    }
    const seen = this.#seen[shard];
    if (!seen || !isOlder(head, seen)) this.#note(shard, head, seen);
    return false;
  }

  /** The epoch that `renew` has to end although the server looks the same; empty: none. */
  epochToEnd(shard: number): string {
    return this.#back[shard] ?? "";
  }

  #note(shard: number, { epoch, incarnation, version }: ShardHead, seen: Seen | undefined): void {
    if (seen?.epoch === epoch && seen.incarnation === incarnation && seen.version === version) return;
    const former = seen?.former ?? [];
    const isNew = seen !== undefined && seen.epoch !== epoch;
    this.#seen[shard] = {
      epoch,
      incarnation,
      version,
      former: isNew ? [...former, seen.epoch].slice(-FORMER_MAX) : former,
    };
  }
}

function isOlder(head: ShardHead, seen: Seen): boolean {
  if (head.epoch !== seen.epoch) return seen.former.includes(head.epoch);
  return head.incarnation === seen.incarnation && head.version < seen.version;
}
