import { SHARDS } from "../arithmetic/shard.ts";
import { SingleFlight } from "../lib/single-flight.ts";
import { ON_THE_WAY_MAX } from "../limits.ts";
import { type HotStore, HotStoreRefuses, isAbandoned, NO_END, type ShardHead } from "../ports/hot-store.ts";
import { log } from "../telemetry/log.ts";
import type { SharedLedger } from "./ledger.ts";

/** How long a shard that is behind is waited for. */
const ADVANCE_MS_MAX = 100;
const PAUSE_MS = 5;
/** A commit that a large copy was not told of for so long it will not be told of by whoever made it. */
const MISSED_MS = 2_000;
/**
 * A copy that was just refused is not mended sooner: each reader would wait for what is refused again, and ask MySQL. Less than a
 * second, which is how often the projector mends what Redis was not told of.
 */
const REFUSED_MS = 800;
const ABANDONED_LOG_MS = 30_000;

/** Keeps the hot store's shards usable: whoever finds one missing, of another run of the store, or behind, calls `repair`. */
export class Shards {
  readonly #hot: HotStore;
  readonly #ledger: Pick<SharedLedger, "versionOf">;
  readonly #end: (shard: number) => Promise<number>;
  readonly #repairs = new SingleFlight<number, void>();
  readonly #refused = new Map<number, { error: HotStoreRefuses; untilMs: number }>();

  /** `end`: the end of the shard's partition of the log, as it is when it is called. */
  constructor(parts: {
    hot: HotStore;
    ledger: Pick<SharedLedger, "versionOf">;
    end: (shard: number) => Promise<number>;
  }) {
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
    this.#end = parts.end;
  }

  /** Every shard has a copy: else the first requests of each would wait for it, which took seconds. */
  async fill(): Promise<void> {
    const shards = Array.from({ length: SHARDS }, (_, shard) => shard);
    const heads = await this.#hot.heads(shards);
    await Promise.all(shards.filter((shard) => heads[shard] === null).map((shard) => this.repair(shard)));
  }

  /** Rejects where one of the three stores cannot be asked. Several rounds may be needed: look again afterwards. */
  repair(shard: number): Promise<void> {
    return this.#repairs.do(shard, () => this.#repairUnlessRefused(shard));
  }

  async #repairUnlessRefused(shard: number): Promise<void> {
    const refused = this.#refused.get(shard);
    if (refused && performance.now() < refused.untilMs) throw refused.error;
    try {
      await this.#repair(shard);
      this.#refused.delete(shard);
    } catch (error) {
      if (error instanceof HotStoreRefuses)
        this.#refused.set(shard, { error, untilMs: performance.now() + REFUSED_MS });
      throw error;
    }
  }

  async #repair(shard: number): Promise<void> {
    const [head] = await this.#hot.heads([shard]);
    if (!head) return this.#renew(shard);
    if (head.end >= NO_END) await this.#bound(shard, head);
    else if (await this.#hasAdvanced(shard, head)) return;
    const there = await this.#hot.overlayOf(shard, ON_THE_WAY_MAX);
    if (there === "many") return this.#tooMuch(shard, head);
    if (there === "none" || there === "foreign") return this.#renew(shard);
    const { version, stamps, stored } = await this.#ledger.versionOf(shard, there.registers, there.keys, there.sources);
    if (isAbandoned(there.head, version)) return this.#abandon(shard, there.head);
    const registers = there.registers.map(({ metric, subject, actor }, i): [number, string, string, number] => [
      metric,
      subject,
      actor,
      stamps[i] ?? 0,
    ]);
    const keys = there.keys.map((key, i): [string, boolean] => [key, stored[i] ?? false]);
    await this.#hot.catchUp(version, registers, keys);
    // The log may have lost its tail since its end was noted: then nothing would ever pass that end.
    if (Math.max(version.position, there.head.position) < there.head.end) await this.#bound(shard, there.head);
  }

  /**
   * Usually the projector is between its commit and its word to Redis. Catching up drops all bases of the shard, and loading
   * them again costs far more than a moment's wait: 24,000 acts a second fell to 900 without it.
   */
  async #hasAdvanced(
    shard: number,
    { version, epoch }: ShardHead,
    [withinMs, pauseMs] = [ADVANCE_MS_MAX, PAUSE_MS],
  ): Promise<boolean> {
    for (const until = performance.now() + withinMs; performance.now() < until; ) {
      await Bun.sleep(pauseMs);
      const [head] = await this.#hot.heads([shard]);
      if (!head || head.epoch !== epoch || head.version !== version) return true;
    }
    return false;
  }

  /**
   * More is on its way than Redis can be asked for in time, as when a subject is on everyone's lips and no projector runs. The
   * projector takes it away commit by commit. But where the copy has missed one, nothing would ever fit again: a new copy is
   * begun, as if Redis had lost this one.
   */
  async #tooMuch(shard: number, head: ShardHead): Promise<void> {
    const { version } = await this.#ledger.versionOf(shard, [], []);
    if (isAbandoned(head, version)) return this.#abandon(shard, head);
    if (version.version === head.version) {
      await this.#hot.catchUp(version, [], []);
      return;
    }
    if (await this.#hasAdvanced(shard, head, [MISSED_MS, 10 * PAUSE_MS])) return;
    log.warn("a copy in Redis has missed a commit, and has too much on its way to be mended: it is begun anew", {
      shard,
    });
    await this.#beginAnew(shard, head);
  }

  /**
   * Its numbers are of commits that are gone, and the overlay lacks what those had decided. As if Redis had lost it: nodes send
   * again what this ledger lacks, and the end of the log, which has all that was acknowledged, says when it is whole.
   */
  async #abandon(shard: number, head: ShardHead): Promise<void> {
    log
      .limited("abandon", ABANDONED_LOG_MS)
      .warn("MySQL lacks what Redis was told of, as after a restore: the copies in Redis are begun anew", { shard });
    await this.#beginAnew(shard, head);
  }

  async #beginAnew(shard: number, { epoch }: ShardHead): Promise<void> {
    await this.#hot.dropCopy(shard, epoch);
    await this.#renew(shard);
  }

  async #renew(shard: number): Promise<void> {
    const { version } = await this.#ledger.versionOf(shard, [], []);
    await this.#hot.renew(version);
    const [head] = await this.#hot.heads([shard]);
    if (head && head.end >= NO_END) await this.#bound(shard, head);
  }

  /** The end must be read after the head: what was acknowledged before the copy lost its end lies in front of it. */
  async #bound(shard: number, { epoch, end: seen }: ShardHead): Promise<void> {
    const end = await this.#end(shard);
    await this.#hot.setEnd(shard, epoch, end, seen);
  }
}
