import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { isSystemError, StartError } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { syncFolder } from "../lib/sync-folder.ts";
import { LOG_FILE_BYTES } from "../limits.ts";
import type { LoggedFrame, LogReader, Position } from "../ports/log.ts";

/**
 * The embedded log: files of 16 MiB, each named by the position of its first byte, written one after the other.
 *
 *     frame   length u32, CRC-32 u32 of (position, payload), payload
 *
 * A file is written whole with zeros before its first use, so that a frame never changes the file's size: an fdatasync
 * then has no metadata to write (measured: 92 µs for write and fdatasync of 3 KB, against 200 µs for a growing file and
 * 132 µs for an insert into SQLite in WAL mode, which also copies every page once more at its checkpoints).
 *
 * Only one frame is ever on its way to the disk: the next is written after the fdatasync of the one before. So after a
 * power cut at most the last frame is torn, nobody was told of it, and it is the end; but a frame that does not check out
 * with a sound one behind it is damage, and the log refuses to open. The position is part of the checksum: what an earlier
 * use of a file left behind is never taken for a frame of this one.
 *
 * A *loose* log (a cluster's outbox, whose records are in Kafka before anyone is told) may also append without waiting for
 * the disk. Then a power cut may leave holes, and the first one is the end.
 */
const HEAD_BYTES = 8;
const SPARE = "spare";
/** Filling a file takes what room there is, also the ledger's: a full disk is not tried with every frame. */
const RETRY_MS = 500;

/** Where the log ends, for all threads: 64 bits, the only words that need them, and nowhere near a hot path. */
export class LogHead {
  readonly share: SharedArrayBuffer;
  readonly #words: BigInt64Array;

  constructor(share = new SharedArrayBuffer(8)) {
    this.share = share;
    this.#words = new BigInt64Array(share);
  }

  get position(): Position {
    return Number(Atomics.load(this.#words, 0));
  }

  set position(to: Position) {
    Atomics.store(this.#words, 0, BigInt(to));
  }
}

export class LogWriter {
  readonly #folder: string;
  readonly #head: LogHead;
  #fd = -1;
  #fileStart: Position = 0;
  /** The next file could not be made: why, and when to try again. Until then smaller frames must not go by. */
  #refused: { error: Error; untilMs: number } | null = null;
  #frame = Buffer.allocUnsafe(64 * 1024);
  readonly #isLoose: boolean;
  /** Frames were written that the disk may not have. */
  #isUnsynced = false;

  /**
   * Opens the log at its end, which it finds and puts into `head`; one that has no files yet begins at `start`. Throws
   * StartError where the log is damaged.
   */
  constructor(folder: string, head: LogHead, { isLoose = false, start = 0 } = {}) {
    this.#isLoose = isLoose;
    this.#folder = folder;
    this.#head = head;
    mkdirSync(folder, { recursive: true });
    const starts = fileStarts(folder);
    if (starts.length === 0) {
      // Whatever left a spare here may have had the same positions: what stands in it could be taken for frames.
      rmSync(join(folder, SPARE), { force: true });
      this.#openFile(start);
      head.position = start;
    } else head.position = this.#openLast(starts);
  }

  get head(): Position {
    return this.#head.position;
  }

  /** Why the disk refused the last frame, null where it took it. */
  get trouble(): string | null {
    return this.#refused?.error.message ?? null;
  }

  /**
   * Appends one frame and waits until the disk has it; the position behind it. Throws what the system says: out of room
   * for the next file (ENOSPC) leaves the log as it was and may be tried again; a failed write or sync does not, since
   * nobody knows what the disk holds then. `isDurable` false (loose logs only): does not wait, `sync` does.
   */
  append(payload: Uint8Array, isDurable = true): Position {
    const bytes = HEAD_BYTES + payload.length;
    let at = this.#head.position;
    if (this.#refused || at - this.#fileStart + bytes > LOG_FILE_BYTES) {
      at = this.#fileStart + LOG_FILE_BYTES;
      this.#openNext(at);
    }
    if (bytes > this.#frame.length) this.#frame = Buffer.allocUnsafe(bytes * 2);
    this.#frame.writeUInt32LE(payload.length, 0);
    this.#frame.writeUInt32LE(checksum(at, payload), 4);
    this.#frame.set(payload, HEAD_BYTES);
    try {
      fault("log.half-frame", () => writeAll(this.#fd, this.#frame, bytes >> 1, at - this.#fileStart));
      writeAll(this.#fd, this.#frame, bytes, at - this.#fileStart);
      fault("log.written");
      this.#isUnsynced = !isDurable;
      if (isDurable) fdatasyncSync(this.#fd);
      fault("log.synced");
    } catch (error) {
      throw new LogBroken("the log cannot be written", { cause: error });
    }
    this.#head.position = at + bytes;
    return at + bytes;
  }

  /** Waits until the disk has every frame. */
  sync(): void {
    if (!this.#isUnsynced) return;
    try {
      fdatasyncSync(this.#fd);
    } catch (error) {
      throw new LogBroken("the log cannot be written", { cause: error });
    }
    this.#isUnsynced = false;
  }

  close(): void {
    this.sync();
    closeSync(this.#fd);
  }

  /** Ends the trouble where the disk would take the next file now. For those who append nothing while it is full. */
  probe(): void {
    const refused = this.#refused;
    const now = performance.now();
    if (refused === null || now < refused.untilMs) return;
    try {
      if (!existsSync(join(this.#folder, SPARE))) makeSpare(this.#folder);
      this.#refused = null;
    } catch (error) {
      if (!isSystemError(error)) throw error;
      this.#refused = { error, untilMs: now + RETRY_MS };
    }
  }

  /**
   * Opens the last file; where the log ends. A file without a frame behind another one is none: who made it died before its
   * first frame was whole. A reader would never come to its beginning, as what leads there is that frame.
   *
   * What a killed process wrote and did not sync is read like all else, and will be built upon: so it is synced now.
   */
  #openLast(starts: readonly Position[]): Position {
    for (let i = starts.length - 1; ; i--) {
      const start = starts[i] as Position;
      const path = pathOf(this.#folder, start);
      this.#fd = openSync(path, "r+");
      this.#fileStart = start;
      const end = this.#findEnd();
      if (end > start || i === 0) {
        fdatasyncSync(this.#fd);
        syncFolder(this.#folder);
        return end;
      }
      closeSync(this.#fd);
      unlinkSync(path);
    }
  }

  #openNext(start: Position): void {
    const now = performance.now();
    if (this.#refused && now < this.#refused.untilMs) throw this.#refused.error;
    this.sync();
    try {
      this.#openFile(start);
      this.#refused = null;
    } catch (error) {
      if (!isSystemError(error)) throw error;
      this.#refused = { error, untilMs: now + RETRY_MS };
      throw error;
    }
  }

  #openFile(start: Position): void {
    const spare = join(this.#folder, SPARE);
    if (!existsSync(spare)) makeSpare(this.#folder);
    fault("log.spare");
    renameSync(spare, pathOf(this.#folder, start));
    fault("log.renamed");
    syncFolder(this.#folder);
    const fd = openSync(pathOf(this.#folder, start), "r+");
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = fd;
    this.#fileStart = start;
  }

  #findEnd(): Position {
    const file = readFile(this.#fd);
    let at = 0;
    for (;;) {
      const bytes = frameAt(file, at, this.#fileStart);
      if (bytes === 0) break;
      at += bytes;
    }
    // A sound frame behind the end: the one between was durable once (see above), so it is damage and not a torn end.
    const length = at + HEAD_BYTES <= file.length ? file.readUInt32LE(at) : 0;
    const behind = at + HEAD_BYTES + length;
    if (!this.#isLoose && length > 0 && behind < file.length && frameAt(file, behind, this.#fileStart) > 0) {
      throw new StartError(
        `the log ${pathOf(this.#folder, this.#fileStart)} is damaged at byte ${at}: restore the data directory from a backup`,
      );
    }
    return this.#fileStart + at;
  }
}

/** A frame may or may not be on the disk: nothing more may be acknowledged until a restart has read what is there. */
export class LogBroken extends Error {}

/** Makes the next file (about 15 ms); mostly one that was trimmed takes its place. */
function makeSpare(folder: string): void {
  const temporary = join(folder, `${SPARE}.new`);
  const fd = openSync(temporary, "w");
  try {
    const zeros = Buffer.alloc(1024 * 1024);
    for (let at = 0; at < LOG_FILE_BYTES; at += zeros.length) writeAll(fd, zeros, zeros.length, at);
    fault("log.filled");
    fsyncSync(fd);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, join(folder, SPARE));
}

/** Removes the files that end before `position`; one of them becomes the next file, so that none need be made. */
export function trimLog(folder: string, position: Position): void {
  const starts = fileStarts(folder);
  for (let i = 0; i + 1 < starts.length && (starts[i + 1] as number) <= position; i++) {
    const path = pathOf(folder, starts[i] as number);
    fault("log.trim");
    if (existsSync(join(folder, SPARE))) unlinkSync(path);
    else renameSync(path, join(folder, SPARE));
  }
}

export class FileLogReader implements LogReader {
  readonly #folder: string;
  readonly #head: LogHead;
  #fd = -1;
  #fileStart: Position = -1;

  constructor(folder: string, head: LogHead) {
    this.#folder = folder;
    this.#head = head;
  }

  start(): Position {
    return logStart(this.#folder) ?? 0;
  }

  read(from: Position, bytesMax: number): LoggedFrame[] {
    const head = this.#head.position;
    const frames: LoggedFrame[] = [];
    let at = from;
    // Something, if there is anything: the rest of a file may be longer than `bytesMax` and hold no frame.
    while (at < head && (frames.length === 0 || at - from < bytesMax)) {
      this.#open(at);
      const fileEnd = this.#fileStart + LOG_FILE_BYTES;
      const chunk = this.#chunk(at, Math.min(head, fileEnd) - at, bytesMax);
      let used = 0;
      for (let bytes = frameAt(chunk, 0, at); bytes > 0; bytes = frameAt(chunk, used, at)) {
        used += bytes;
        frames.push({ bytes: chunk.subarray(used - bytes + HEAD_BYTES, used), next: at + used });
      }
      at += used;
      if (used > 0) continue;
      // The rest of this file was too short for the next frame, which begins the next file.
      if (head < fileEnd)
        throw new Error(`the log is damaged at ${at}: it goes on to ${head}, but this frame is not sound`);
      at = fileEnd;
      const last = frames.at(-1);
      if (last) last.next = at;
    }
    return frames;
  }

  /** About `bytesMax` bytes of the file from `at`, of `there` that are committed; more where the first frame is longer. */
  #chunk(at: Position, there: number, bytesMax: number): Buffer {
    const offset = at - this.#fileStart;
    const chunk = readAt(this.#fd, offset, Math.min(there, bytesMax));
    const first = chunk.length < HEAD_BYTES ? HEAD_BYTES : HEAD_BYTES + chunk.readUInt32LE(0);
    return first > chunk.length && first <= there ? readAt(this.#fd, offset, first) : chunk;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#fileStart = -1;
  }

  #open(position: Position): void {
    if (this.#fd >= 0 && position >= this.#fileStart && position < this.#fileStart + LOG_FILE_BYTES) return;
    const start = fileStarts(this.#folder).findLast((each) => each <= position);
    if (start === undefined || position >= start + LOG_FILE_BYTES) {
      throw new Error(`the log no longer has position ${position}: log and ledger are not from one data directory`);
    }
    this.close();
    this.#fd = openSync(pathOf(this.#folder, start), "r");
    this.#fileStart = start;
  }
}

/** The whole frame's bytes where a sound one stands at `bytes[at]`, else 0. `start` is the position of `bytes[0]`. */
function frameAt(bytes: Buffer, at: number, start: Position): number {
  if (at + HEAD_BYTES > bytes.length) return 0;
  const length = bytes.readUInt32LE(at);
  const end = at + HEAD_BYTES + length;
  if (length === 0 || end > bytes.length) return 0;
  const sound = checksum(start + at, bytes.subarray(at + HEAD_BYTES, end)) === bytes.readUInt32LE(at + 4);
  return sound ? HEAD_BYTES + length : 0;
}

function checksum(position: Position, payload: Uint8Array): number {
  const seed = (position % 0x100000000) ^ Math.floor(position / 0x100000000);
  return Bun.hash.crc32(payload, seed >>> 0);
}

function pathOf(folder: string, start: Position): string {
  return join(folder, `${String(start).padStart(16, "0")}.log`);
}

/** Where the oldest file begins; null: there are none. */
export function logStart(folder: string): Position | null {
  return fileStarts(folder)[0] ?? null;
}

function fileStarts(folder: string): Position[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^\d{16}\.log$/.test(name))
    .map((name) => Number(name.slice(0, 16)))
    .sort((a, b) => a - b);
}

function readFile(fd: number): Buffer {
  return readAt(fd, 0, LOG_FILE_BYTES);
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let end = 0;
  while (end < length) {
    const got = readSync(fd, bytes, end, length - end, offset + end);
    if (got === 0) break;
    end += got;
  }
  return bytes.subarray(0, end);
}

function writeAll(fd: number, bytes: Uint8Array, length: number, offset: number): void {
  for (let at = 0; at < length; ) at += writeSync(fd, bytes, at, length - at, offset + at);
}
