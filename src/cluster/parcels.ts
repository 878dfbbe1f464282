import type { Position } from "../ports/log.ts";
import { FrameWriter, frameSource, type LogRecord, readFrame } from "../records.ts";
import { JOBS } from "./job-log.ts";

/** A message: a frame of the outbox, or that part of one which is of a partition. */
export interface Parcel {
  partition: number;
  bytes: Buffer;
  /** Where its frame ends in the outbox. */
  end: Position;
}

/**
 * The messages that a frame of the outbox goes out as. Nearly every frame is of one partition, and is its message as
 * it stands. A job may be of all: it is one frame, so that a node that dies has all of it in its outbox or nothing,
 * and is taken apart here, every time into the same parts.
 */
export function parcelsOf(frame: Buffer, end: Position, partitions: number): Parcel[] {
  if (frameSource(frame).endsWith(JOBS)) return dividedParcels(frame, end, partitions);
  return [{ partition: firstShard(frame) % partitions, bytes: frame, end }];
}

/** The same of a frame that may have been written for another number of partitions: as a job's. */
export function dividedParcels(frame: Buffer, end: Position, partitions: number): Parcel[] {
  const { source, records } = readFrame(frame);
  const parts = new Map<number, LogRecord[]>();
  for (const record of records) {
    const partition = record.shard % partitions;
    const part = parts.get(partition) ?? [];
    part.push(record);
    parts.set(partition, part);
  }
  return Array.from(parts, ([partition, records]) => ({ partition, bytes: frameOf(source, records), end }));
}

function frameOf(source: string, records: readonly LogRecord[]): Buffer {
  const writer = new FrameWriter();
  writer.begin(source);
  for (const record of records) writer.add(record);
  return writer.finish();
}

/** The shard of a frame's first record: behind version, source and count stand kind and shard. */
function firstShard(frame: Buffer): number {
  return frame[2 + frameSource(frame).length + 4 + 1] as number;
}
