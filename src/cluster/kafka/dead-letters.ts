import { log } from "../../telemetry/log.ts";
import { deadTopic, type KafkaSettings } from "./client.ts";
import type { BadMessage } from "./gather.ts";
import { KafkaProducer } from "./producer.ts";
import { MESSAGE_BYTES_MAX, type OutgoingMessage } from "./rounds.ts";
import { ensureTopics } from "./topics.ts";

const LOG_EVERY_MS = 1_000;
const REASON_CHARS_MAX = 500;
/** Only somebody else's messages are longer; with the reason they would not be taken. */
const VALUE_BYTES_MAX = MESSAGE_BYTES_MAX;

/** The topic beside the log that keeps what cannot be applied, with the reason. Connects when there is something. */
export class DeadLetters {
  readonly #settings: KafkaSettings;
  #producer: KafkaProducer | null = null;
  #starting: Promise<void> | null = null;
  /** How many this process has put there. */
  count = 0;

  constructor(settings: KafkaSettings) {
    this.#settings = settings;
  }

  /** Rejects with KafkaAway where they could not be kept; some may be there then, and again the next time. */
  async put(messages: readonly BadMessage[]): Promise<void> {
    const producer = this.#open();
    await this.#starting;
    await producer.send(messages.map(letterOf));
    this.count += messages.length;
    for (const { partition, offset, reason } of messages) {
      log.limited("dead letter", LOG_EVERY_MS).error("a message of the log cannot be applied and is put aside", {
        part: "kafka",
        topic: deadTopic(this.#settings.prefix),
        partition,
        offset,
        reason,
      });
    }
  }

  close(): void {
    this.#producer?.close();
  }

  #open(): KafkaProducer {
    if (!this.#producer) {
      const onMissing = () => ensureTopics(this.#settings);
      this.#producer = new KafkaProducer(this.#settings, { topic: deadTopic(this.#settings.prefix), onMissing });
      this.#starting = this.#producer.start();
    }
    return this.#producer;
  }
}

/** All in the first partition: there may be as few as one. */
function letterOf({ partition, offset, value, reason }: BadMessage): OutgoingMessage {
  const isCut = value !== null && value.length > VALUE_BYTES_MAX;
  const headers: Record<string, string> = {
    reason: reason.slice(0, REASON_CHARS_MAX),
    partition: String(partition),
    offset: String(offset),
  };
  if (isCut) headers.cut = String(value.length);
  return {
    partition: 0,
    key: `${partition}/${offset}`,
    value: isCut ? value.subarray(0, VALUE_BYTES_MAX) : value,
    headers,
  };
}
