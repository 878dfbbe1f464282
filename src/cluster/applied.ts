import { Batcher } from "../lib/batcher.ts";
import { SHARED_ACTS_MAX } from "../limits.ts";
import { isAway } from "./away.ts";
import type { SharedLedger } from "./ledger.ts";
import type { LogClient } from "./log-client.ts";

/** The projector takes a tenth of a second at least. */
const PAUSE_MS = 20;

interface AppliedParts {
  ledger: Pick<SharedLedger, "positions">;
  log: Pick<LogClient, "end">;
  partitions: number;
}

interface Waiting {
  partition: number;
  end: number;
  deadline: number;
  resolve(isApplied: boolean): void;
  reject(error: unknown): void;
}

/** For one thread: when the ledger has what the log has. However many wait, the stores are asked by one. */
export class Applied {
  readonly #ledger: AppliedParts["ledger"];
  readonly #partitions: number;
  readonly #ends: Batcher<number, number>;
  #waiting: Waiting[] = [];
  #isAsking = false;

  constructor({ ledger, log, partitions }: AppliedParts) {
    this.#ledger = ledger;
    this.#partitions = partitions;
    const endsOf = async (shards: number[]) => {
      const each = [...new Set(shards)];
      const ends = new Map(await Promise.all(each.map(async (shard) => [shard, await log.end(shard)] as const)));
      return shards.map((shard) => ends.get(shard) as number);
    };
    this.#ends = new Batcher(endsOf, { itemsMax: SHARED_ACTS_MAX, flightsMax: 1 });
  }

  /**
   * Whether all that was acknowledged on the shard before this call is in the ledger within `ms`. False also where a store
   * is away, or a node has acts that it could not send to Kafka.
   */
  async within(shard: number, ms: number): Promise<boolean> {
    if (ms <= 0) return false;
    const deadline = performance.now() + ms;
    try {
      const end = await this.#ends.submit(shard);
      return await new Promise((resolve, reject) => {
        this.#waiting.push({ partition: shard % this.#partitions, end, deadline, resolve, reject });
        void this.#ask();
      });
    } catch (error) {
      if (isAway(error)) return false;
      throw error;
    }
  }

  /** Until nobody waits. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      while (this.#waiting.length > 0) {
        const positions = await this.#ledger.positions();
        const now = performance.now();
        this.#waiting = this.#waiting.filter(({ partition, end, deadline, resolve }) => {
          const isApplied = (positions.get(partition) ?? 0) >= end;
          if (isApplied || now > deadline) resolve(isApplied);
          return !isApplied && now <= deadline;
        });
        if (this.#waiting.length > 0) await Bun.sleep(PAUSE_MS);
      }
    } catch (error) {
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    } finally {
      this.#isAsking = false;
    }
  }
}
