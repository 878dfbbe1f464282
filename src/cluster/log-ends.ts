import { Batcher } from "../lib/batcher.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import type { KafkaProducer } from "./kafka/producer.ts";

/**
 * Where the log ends, shard by shard. Whoever asks while one answer is under way waits for the next one: an end must have
 * been read after it was asked for. One question serves all who wait: 256 of them one by one took seconds.
 */
export class LogEnds {
  readonly #producer: KafkaProducer;
  readonly #asked: Batcher<number, number>;

  constructor(producer: KafkaProducer, partitions: number) {
    this.#producer = producer;
    this.#asked = new Batcher(
      async (shards) => {
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
