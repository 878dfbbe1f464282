import type { LogReader, Position } from "../ports/log.ts";
import { frameSource } from "../records.ts";
import { KafkaAway } from "./kafka/client.ts";
import type { KafkaProducer } from "./kafka/producer.ts";
import { dividedParcels, type Parcel, parcelsOf } from "./parcels.ts";

const READ_BYTES = 4 * 1024 * 1024;
const AGAIN_MS = 50;

/**
 * One queue from the outbox into Kafka: frames of its own sources, in their order, one send under way. While anything waits
 * in the outbox everything queues behind it. A frame of which Kafka has only some partitions' parts goes again as a whole.
 *
 *     direct ──(a send fails)──▸ draining ──(the outbox's end is reached)──▸ direct
 *
 * There are two lanes, so that an act need not wait for a large note; the numbers of different sources know no order.
 */
export class Lane {
  readonly #producer: KafkaProducer;
  readonly #reader: LogReader;
  readonly #isMine: (source: string) => boolean;
  readonly #partitions: number;
  readonly #ownFrom: Position;
  readonly #applied: () => Position;
  /** Up to here Kafka has this lane's frames. Where it has nothing to send it stays behind. */
  #shipped: Position;
  #isDraining = false;
  #isClosed = false;
  #rewinds = 0;
  /** A send that is not the drain's. */
  #sending: Promise<boolean> | null = null;

  constructor(parts: {
    producer: KafkaProducer;
    reader: LogReader;
    head: () => Position;
    isMine: (source: string) => boolean;
    partitions: number;
    /** Up to here the ledger has the outbox, which may be trimmed there. */
    applied: () => Position;
    from: Position;
    /** Before it an earlier run wrote, which may have counted with another number of partitions. */
    ownFrom: Position;
  }) {
    this.#producer = parts.producer;
    this.#reader = parts.reader;
    this.#isMine = parts.isMine;
    this.#partitions = parts.partitions;
    this.#applied = parts.applied;
    this.#shipped = parts.from;
    this.#ownFrom = parts.ownFrom;
    if (parts.from < parts.head()) void this.#drain();
  }

  /** Sends parcels that have just been appended. False: they stay in the outbox and go from there, in their order. */
  async ship(parcels: readonly Parcel[]): Promise<boolean> {
    if (this.#isDraining || this.#sending !== null || !this.#producer.isUp) {
      void this.#drain();
      return false;
    }
    this.#sending = this.#send(parcels);
    const isShipped = await this.#sending;
    this.#sending = null;
    if (!isShipped) void this.#drain();
    return isShipped;
  }

  /** Sends again what stands in the outbox from `from` on. */
  rewind(from: Position): void {
    if (from >= this.#shipped) return;
    this.#shipped = from;
    this.#rewinds++;
    void this.#drain();
  }

  /** Whether Kafka has everything. */
  get isEmpty(): boolean {
    return !this.#isDraining;
  }

  /** Whether Kafka is there though there is nothing to send: who acts next waits for it. */
  look(): Promise<void> {
    return this.#producer.look();
  }

  close(): void {
    this.#isClosed = true;
    this.#producer.close();
  }

  /** False where Kafka is away. */
  async #send(parcels: readonly Parcel[]): Promise<boolean> {
    const rewinds = this.#rewinds;
    try {
      await this.#producer.send(
        parcels.map(({ partition, bytes }) => ({ partition, key: String(partition), value: bytes })),
      );
    } catch (error) {
      if (error instanceof KafkaAway) return false;
      throw error;
    }
    const last = parcels.at(-1);
    // Rewound meanwhile: from there again.
    if (last && this.#rewinds === rewinds) this.#shipped = Math.max(this.#shipped, last.end);
    return true;
  }

  async #drain(): Promise<void> {
    if (this.#isDraining) return;
    this.#isDraining = true;
    await this.#sending;
    while (!this.#isClosed) {
      if (!this.#producer.isUp) {
        await Bun.sleep(AGAIN_MS);
        continue;
      }
      const frames = this.#reader.read(Math.max(this.#shipped, this.#applied()), READ_BYTES);
      const last = frames.at(-1);
      // Nothing is awaited between this look and the end of draining: no frame can come in between.
      if (!last) break;
      const mine = frames.filter(({ bytes }) => this.#isMine(frameSource(bytes)));
      const parcels = mine.flatMap(({ bytes, next }) => {
        const parts = next <= this.#ownFrom ? dividedParcels : parcelsOf;
        return parts(bytes, next, this.#partitions);
      });
      const rewinds = this.#rewinds;
      if (!(await this.#send(parcels))) await Bun.sleep(AGAIN_MS);
      else if (this.#rewinds === rewinds) this.#shipped = last.next;
    }
    this.#isDraining = false;
  }
}
