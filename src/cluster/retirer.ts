import { SHARDS } from "../arithmetic/shard.ts";
import { wallMs } from "../lib/fault.ts";
import { RETIRE_MARGIN_MS, UPLOAD_SHARED_MS } from "../limits.ts";
import type { HotStore } from "../ports/hot-store.ts";
import { tried } from "./away.ts";
import type { Retirement } from "./mysql/retirement.ts";

/** Between two walks, half as much and half as much more: projectors do not walk together. */
const WALK_EVERY_MS = 3_600_000;
/** Between two steps of a walk. */
const STEP_EVERY_MS = 1_000;
const SHARDS_AT_ONCE = 16;

interface RetirerParts {
  ledger: Pick<Retirement, "step" | "forgetUploads" | "rowless" | "close">;
  hot: Pick<HotStore, "sources" | "forget">;
  /** Of the log: what may still be read from there keeps its rows. */
  retentionMs: number;
  now?: () => number;
}

/**
 * Each run of a node has sources of its own, and so has each upload with a key. The ledger keeps their last numbers in a row for
 * each shard, and Redis in a field of each shard's copy. When they are long over they go: in the ledger into one row, in Redis
 * altogether. Uploads, to which there is no end, are forgotten when the log has forgotten them.
 *
 *     uploads of long ago are forgotten → through the ledger's sources: who is quiet retires → through Redis's shards: who has
 *     no row there is forgotten
 *
 * Nothing is lost by that, so a source need not be dead: whatever comes of one that has retired finds its numbers, and gives it
 * rows again. Only Redis alone cannot tell any more what is decided of it. So nothing is put there of which the ledger
 * may have known for longer than puts take: an act or a note is put when it is logged or never, what is put again is what the
 * ledger has just been asked about (LogThread), and who catches a copy up asks for the sources of all that is on its way.
 * Redis is looked at before the ledger, and forgets only the numbers that were seen: a source may speak again meanwhile.
 * (The mix `retired` of the model in test/model/ takes each of these away.)
 */
export class Retirer {
  readonly #ledger: RetirerParts["ledger"];
  readonly #hot: RetirerParts["hot"];
  readonly #ageMs: number;
  readonly #now: () => number;
  readonly #timer: ReturnType<typeof setInterval>;
  #nextMs: number;
  /** This walk has found no upload to forget any more. */
  #hasForgotten = false;
  /** The shard that Redis is asked for next; null while the walk goes through the ledger. */
  #shard: number | null = null;
  #isStepping = false;
  #isStopped = false;

  constructor({ ledger, hot, retentionMs, now = wallMs }: RetirerParts) {
    this.#ledger = ledger;
    this.#hot = hot;
    this.#ageMs = retentionMs + RETIRE_MARGIN_MS;
    this.#now = now;
    this.#nextMs = Date.now() + WALK_EVERY_MS * Math.random();
    this.#timer = setInterval(() => void tried(() => this.step()), STEP_EVERY_MS);
  }

  /** A little of a walk, if it is time for one. Rejects where a store is away: the walk goes on later. */
  async step(): Promise<void> {
    const nowMs = this.#now();
    if (this.#isStepping || nowMs < this.#nextMs) return;
    this.#isStepping = true;
    try {
      if (this.#shard !== null) await this.#forget(this.#shard, nowMs);
      else if (await this.#isThrough(nowMs)) this.#shard = 0;
    } finally {
      this.#isStepping = false;
    }
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#ledger.close();
  }

  /** The ledger's part of the walk. */
  async #isThrough(nowMs: number): Promise<boolean> {
    const runsBeforeMs = nowMs - this.#ageMs;
    // The log may be read from its begin as long as it has them.
    this.#hasForgotten ||= (await this.#ledger.forgetUploads(runsBeforeMs)) === 0;
    if (!this.#hasForgotten) return false;
    return (await this.#ledger.step({ runsBeforeMs, uploadsBeforeMs: nowMs - UPLOAD_SHARED_MS })) === null;
  }

  async #forget(from: number, nowMs: number): Promise<void> {
    const shards = Array.from({ length: SHARDS_AT_ONCE }, (_, i) => from + i);
    for (const known of await this.#hot.sources(shards)) {
      const shard = known[0]?.shard;
      if (shard === undefined || this.#isStopped) continue;
      const names = known.map(({ source }) => source);
      const rowless = await this.#ledger.rowless(shard, names);
      if (rowless.size > 0) await this.#hot.forget(known.filter(({ source }) => rowless.has(source)));
    }
    this.#shard = from + SHARDS_AT_ONCE;
    if (this.#shard < SHARDS) return;
    this.#shard = null;
    this.#hasForgotten = false;
    this.#nextMs = nowMs + WALK_EVERY_MS * (0.5 + Math.random());
    this.#ledger.close();
  }
}
