import { isSystemError } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import { recordOf } from "../local/event-record.ts";
import type { LogWriter } from "../local/log.ts";
import { FrameWriter, type LogRecord } from "../records.ts";
import type { NumberedParcel } from "./acts-log.ts";
import type { StampedEvent } from "./messages.ts";

/** A block in the outbox, frame by frame. */
interface BulkAppended {
  parcels: NumberedParcel[];
  records: LogRecord[][];
}

/**
 * Appends blocks of numbered events to the outbox, a frame for each partition. Numbers and stamps came with them, and a frame
 * holds all of a block for its shards, so two nodes with the same block write the same frame, and the projector decides it
 * whole. For the same reason one that counts nothing is a tally by 0, whatever rules say there.
 */
export class BulkLog {
  readonly #log: LogWriter;
  readonly #partitions: number;

  constructor(parts: { log: LogWriter; partitions: number }) {
    this.#log = parts.log;
    this.#partitions = parts.partitions;
  }

  /** Null: the disk refused it. Then some partitions may have theirs: it is to be sent again. */
  append(source: string, events: readonly StampedEvent[]): BulkAppended | null {
    const nowMs = wallMs();
    const records: LogRecord[][] = Array.from({ length: this.#partitions }, () => []);
    for (const event of events) records[event.shard % this.#partitions]?.push(recordOf(event, event.stamp, nowMs));
    try {
      const parcels = records.flatMap((each, partition) =>
        each.length === 0 ? [] : [this.#frame(source, partition, each)],
      );
      return { parcels, records: records.filter((each) => each.length > 0) };
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return null;
    }
  }

  #frame(source: string, partition: number, records: LogRecord[]): NumberedParcel {
    const writer = new FrameWriter();
    writer.begin(source);
    for (const record of records) writer.add(record);
    const bytes = writer.finish();
    return { partition, bytes, end: this.#log.append(bytes, false), frame: { source, records } };
  }
}
