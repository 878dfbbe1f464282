import { shardOf } from "../arithmetic/shard-of.ts";
import type { HotStore, RegisterName } from "../ports/hot-store.ts";
import { log } from "../telemetry/log.ts";
import type { SharedLedger } from "./ledger.ts";

/** A walk through the ledger is long: what a trouble of the stores has broken gathers for so long. */
const BETWEEN_MS = 30_000;

/**
 * Fills the filters of shards (see `Filter` of arithmetic/shard.ts): of those that a commit was told to in vain, that had data
 * lost, or that a merge brought registers to. One walk through the ledger's registers fills all that want it; half of the time
 * it rests. Until then the ledger is asked, as if there was no filter.
 */
export class FilterFiller {
  readonly #hot: HotStore;
  readonly #ledger: Pick<SharedLedger, "everyRegister">;
  readonly #wanted = new Set<number>();
  #earliestMs = 0;
  #isFilling = false;
  #isStopped = false;

  constructor(hot: HotStore, ledger: Pick<SharedLedger, "everyRegister">) {
    this.#hot = hot;
    this.#ledger = ledger;
  }

  want(shards: Iterable<number>): void {
    for (const shard of shards) this.#wanted.add(shard);
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Now and then: fills what wants it, if it is time. Rejects where a store is away: the shards want it still. */
  async fill(): Promise<void> {
    const now = performance.now();
    if (this.#isFilling || this.#wanted.size === 0 || now < this.#earliestMs) return;
    this.#isFilling = true;
    try {
      await this.#fill([...this.#wanted]);
    } finally {
      this.#earliestMs = performance.now() + BETWEEN_MS;
      this.#isFilling = false;
    }
  }

  async #fill(wanted: readonly number[]): Promise<void> {
    const token = crypto.randomUUID();
    const began = await this.#hot.beginFilling(wanted, token);
    const filling = new Set<number>();
    for (const [i, shard] of wanted.entries()) {
      if (began[i] === "ok") filling.add(shard);
      // Whoever makes a copy that is missing tells the next commit that it has no filter.
      else if (began[i] !== "busy") this.#wanted.delete(shard);
    }
    if (filling.size === 0) return;
    const startMs = performance.now();
    let registers = 0;
    // Read from now on, after all of them have begun: see `beginFilling`.
    for await (const page of this.#ledger.everyRegister()) {
      if (this.#isStopped || filling.size === 0) return;
      const pageMs = performance.now();
      registers += await this.#put(page, filling, token);
      await Bun.sleep(performance.now() - pageMs);
    }
    const shards = [...filling];
    const isWhole = await this.#hot.endFilling(shards, token);
    const whole = shards.filter((_, i) => isWhole[i]);
    for (const shard of whole) this.#wanted.delete(shard);
    const s = Math.round((performance.now() - startMs) / 1000);
    log.info("filters of registers are filled", { shards: whole.length, registers, s });
  }

  /** All of them are told, so that each hears of this filler. */
  async #put(page: readonly RegisterName[], filling: Set<number>, token: string): Promise<number> {
    const parts = new Map(Array.from(filling, (shard) => [shard, { shard, registers: [] as RegisterName[] }]));
    let registers = 0;
    for (const register of page) {
      const part = parts.get(shardOf(register.subject));
      if (!part) continue;
      part.registers.push(register);
      registers++;
    }
    const all = [...parts.values()];
    const isTheirs = await this.#hot.fill(all, token);
    for (const [i, { shard }] of all.entries()) if (!isTheirs[i]) filling.delete(shard);
    return registers;
  }
}
