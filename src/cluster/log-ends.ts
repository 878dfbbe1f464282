import { Batcher } from "../lib/batcher.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import type { KafkaProducer } from "./kafka/producer.ts";
import type { SharedLedger } from "./ledger.ts";

/**
 * Where the log ends, shard by shard: whatever was answered 200 before it was asked for is in front of it. So there is no end
 * to be told as long as a node has acts that it could not send yet. First the ledger is asked for such nodes, then Kafka:
 *
 *     node   act on its disk   told the ledger   200        Kafka has it   the ledger is told that it is over
 *     who asks                                   no spools?                                     end?
 *
 * An act that was answered before the first question is known by its node's row then, or was in Kafka before the second.
 *
 * Whoever asks while one answer is under way waits for the next one: an end must have
 * been read after it was asked for. One question serves all who wait: 256 of them one by one took seconds.
 */
export class LogEnds {
  readonly #producer: KafkaProducer;
  readonly #asked: Batcher<number, number>;

  constructor(producer: KafkaProducer, ledger: Pick<SharedLedger, "hasNotices">, partitions: number) {
    this.#producer = producer;
    this.#asked = new Batcher(
      async (shards) => {
        if (await ledger.hasNotices("spools")) throw new Error("a node has acts that it could not send to Kafka yet");
        const ends = await producer.ends(new Set(shards.map((shard) => shard % partitions)));
        return shards.map((shard) => ends.get(shard % partitions) as number);
      },
      { itemsMax: 1024, flightsMax: 1 },
    );
  }

  /** The end of the shard's partition; HotStoreAway where Kafka cannot tell. */
  async of(shard: number): Promise<number> {
    try {
      return await this.#asked.submit(shard);
    } catch (error) {
      throw new HotStoreAway(`the log's end cannot be asked for: ${error instanceof Error ? error.message : error}`);
    }
  }

  close(): void {
    this.#producer.close();
  }
}
