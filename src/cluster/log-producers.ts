import type { Settings } from "../config.ts";
import { KafkaProducer, type ProducerOptions } from "./kafka/producer.ts";
import { logOptions } from "./log-options.ts";

/** The log thread's producers, each with connections of its own; `make` begins to connect. */
export class LogProducers {
  readonly #settings: Settings;
  readonly #options: ProducerOptions;
  #made = 0;
  /** Those that have tried to connect. */
  readonly #tried: KafkaProducer[] = [];

  constructor(settings: Settings, partitions: number) {
    this.#settings = settings;
    this.#options = logOptions(settings, partitions);
  }

  make(): KafkaProducer {
    const producer = new KafkaProducer(this.#settings, this.#options);
    this.#made++;
    void producer.start().then(() => this.#tried.push(producer));
    return producer;
  }

  /** Why one of them cannot send, or null. Undefined until all have tried. */
  get trouble(): string | null | undefined {
    if (this.#tried.length < this.#made) return undefined;
    return this.#tried.find(({ isUp }) => !isUp)?.awayReason ?? null;
  }
}
