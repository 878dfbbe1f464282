import { type Frame, readFrame } from "../../records.ts";
import { reasonOf } from "./errors.ts";

/** A message as it came from the log. Offsets are exact: 2^53 messages are 2,800 years of 100,000 a second. */
export interface LogMessage {
  partition: number;
  offset: number;
  value: Buffer;
  frame: Frame;
}

/** A message that is no frame, or one that the projector gave back. */
export interface BadMessage {
  partition: number;
  offset: number;
  value: Buffer | null;
  reason: string;
}

export interface Gathered {
  /** In the order of the log within each partition. */
  messages: LogMessage[];
  /** What could not be read, to be put aside before the positions behind it are stored. */
  bad: BadMessage[];
  /** Where to read on once this is applied. */
  positions: Map<number, number>;
}

export interface GatherBounds {
  records: number;
  bytes: number;
}

/** What has come from the log and was not handed on yet. */
export class Gather {
  readonly #bounds: GatherBounds;
  #gathered: Gathered = nothing();
  #records = 0;
  #bytes = 0;
  #sinceMs = 0;

  constructor(bounds: GatherBounds) {
    this.#bounds = bounds;
  }

  get isEmpty(): boolean {
    return this.#gathered.positions.size === 0;
  }

  /**
   * Take before adding more. A batch is added whole, so one batch too much may be here (1 MiB, or a longer message).
   */
  get isFull(): boolean {
    return this.#records >= this.#bounds.records || this.#bytes >= this.#bounds.bytes;
  }

  /** When the first of it came. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  add(partition: number, offset: number, value: Buffer | null): void {
    this.#begin();
    this.#bytes += value?.length ?? 0;
    try {
      if (value === null) throw new Error("it has no value");
      const frame = readFrame(value);
      this.#records += frame.records.length;
      this.#gathered.messages.push({ partition, offset, value, frame });
    } catch (error) {
      this.#records++;
      this.#gathered.bad.push({ partition, offset, value, reason: reasonOf(error) });
    }
  }

  /** The partition is to be read on from here. */
  moveTo(partition: number, position: number): void {
    this.#begin();
    this.#gathered.positions.set(partition, position);
  }

  take(): Gathered {
    const taken = this.#gathered;
    this.clear();
    return taken;
  }

  clear(): void {
    this.#gathered = nothing();
    this.#records = 0;
    this.#bytes = 0;
  }

  #begin(): void {
    if (this.isEmpty && this.#gathered.messages.length === 0 && this.#gathered.bad.length === 0) {
      this.#sinceMs = performance.now();
    }
  }
}

function nothing(): Gathered {
  return { messages: [], bad: [], positions: new Map() };
}
