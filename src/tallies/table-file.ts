import { closeSync, fsyncSync, ftruncateSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { fault } from "../lib/fault.ts";
import { syncFolder } from "../lib/sync-folder.ts";
import { bootId } from "./boot-id.ts";
import {
  ALLOCATED_WORD,
  CLEAN_WORD,
  encodeHeader,
  FLUSHED_AT_DOUBLE,
  fileBytes,
  HEADER_BYTES,
  NOTED_POSITION_DOUBLE,
  SLOT_BYTES,
  TALLY_BYTES,
  type TableHeader,
  talliesAt,
} from "./layout.ts";

/** Two milliseconds of main's time. */
const CHUNK_BYTES = 8 * 2 ** 20;
const ZEROS = new Uint8Array(2 ** 20);

/**
 * The mapped file. It has its whole length from the start but no space on the disk: space is taken by writing zeros
 * ahead of the slots, because a full disk is an error there, and would be a SIGBUS in a store to the mapping.
 */
export class TableFile {
  readonly map: Uint8Array<ArrayBuffer>;
  private readonly fd: number;
  private readonly header: Int32Array;
  private readonly doubles: Float64Array;
  private readonly slots: number;

  /** A new file in the place of any old one, which stays whole until the new one is on the disk. */
  constructor(path: string, what: Omit<TableHeader, "bootId">) {
    const fresh = `${path}.new`;
    this.slots = what.slots;
    this.fd = openSync(fresh, "w+", 0o600);
    try {
      ftruncateSync(this.fd, fileBytes(what.slots));
      writeSync(this.fd, encodeHeader({ ...what, bootId: bootId() }), 0, HEADER_BYTES, 0);
      fsyncSync(this.fd);
      this.map = Bun.mmap(fresh, { shared: true }) as Uint8Array<ArrayBuffer>;
      this.header = new Int32Array(this.map.buffer, this.map.byteOffset, HEADER_BYTES / 4);
      this.doubles = new Float64Array(this.map.buffer, this.map.byteOffset, HEADER_BYTES / 8);
      fault("table.created");
      renameSync(fresh, path);
      fault("table.renamed");
      syncFolder(dirname(path));
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  get allocated(): number {
    return Atomics.load(this.header, ALLOCATED_WORD);
  }

  /** Takes space for at least `slots` slots, up to one chunk more at a time; throws what the disk says (ENOSPC). */
  allocate(slots: number): number {
    const from = this.allocated;
    const chunk = Math.floor(CHUNK_BYTES / (SLOT_BYTES + TALLY_BYTES));
    const to = Math.min(this.slots, Math.max(from, Math.min(slots, from + chunk)));
    this.take(HEADER_BYTES + from * SLOT_BYTES, HEADER_BYTES + to * SLOT_BYTES);
    const tallies = talliesAt(this.slots);
    this.take(tallies + from * TALLY_BYTES, tallies + to * TALLY_BYTES);
    Atomics.store(this.header, ALLOCATED_WORD, to);
    return to;
  }

  private take(from: number, to: number): void {
    for (let at = from; at < to; ) at += writeSync(this.fd, ZEROS, 0, Math.min(ZEROS.length, to - at), at);
  }

  get notedPosition(): number {
    return this.doubles[NOTED_POSITION_DOUBLE] as number;
  }

  set notedPosition(position: number) {
    this.doubles[NOTED_POSITION_DOUBLE] = position;
  }

  set flushedAtMs(atMs: number) {
    this.doubles[FLUSHED_AT_DOUBLE] = atMs;
  }

  /** Says in the file that the log has everything. */
  markClean(): void {
    Atomics.store(this.header, CLEAN_WORD, 1);
  }

  close(): void {
    closeSync(this.fd);
  }
}
