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

  /** Null until all have tried. */
  get isUp(): boolean | null {
    return this.#tried.length < this.#made ? null : this.#tried.every(({ isUp }) => isUp);
  }
}
