import { Batcher } from "../lib/batcher.ts";
import { LOOKS_AT_ONCE } from "../limits.ts";
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

/** For one thread: when the ledger has what the log has. One question serves all who wait. */
export class Applied {
  readonly #log: AppliedParts["log"];
  readonly #positions: Batcher<number, number>;

  constructor({ ledger, log, partitions }: AppliedParts) {
    this.#log = log;
    this.#positions = new Batcher(
      async (shards) => {
        const positions = await ledger.positions();
        return shards.map((shard) => positions.get(shard % partitions) ?? 0);
      },
      { itemsMax: LOOKS_AT_ONCE, flightsMax: 1 },
    );
  }

  /**
   * Whether all that was acknowledged on the shard before this call is in the ledger within `ms`. False also where a store
   * is away, or a node has acts that it could not send to Kafka.
   */
  async within(shard: number, ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    try {
      for (const end = await this.#log.end(shard); (await this.#positions.submit(shard)) < end; ) {
        if (performance.now() > deadline) return false;
        await Bun.sleep(PAUSE_MS);
      }
      return true;
    } catch (error) {
      if (isAway(error)) return false;
      throw error;
    }
  }
}
