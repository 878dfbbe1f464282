import { closeSync, fstatSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import { isSystemError } from "../errors.ts";
import { VISITOR_LEVELS, VISITOR_STRIPES, VISITOR_WAYS } from "../limits.ts";
import { bootId } from "../tallies/boot-id.ts";

/**
 * The visitors' file: a header page with the salts, then levels of buckets, each level twice as long as the one before. A new
 * meaning of any byte is a new version: a file of another version is given up, and visitors may count once more.
 */
const MAGIC = "TALLYVIS";
const VERSION = 1;
const HEADER_BYTES = 4096;
export const HEADER_WORDS = HEADER_BYTES / 4;
const VERSION_WORD = 2;
/** Levels that have space on the disk. */
export const LEVELS_WORD = 3;
/** Rises with every change of a salt. */
export const SALTS_CHANGED_WORD = 4;
const BOOT_AT = 64;
const BOOT_BYTES = 40;
/** Salts: the day (0: none) in a word, and 32 bytes behind it. */
export const SALTS = 5;
export const SALTS_AT = 1024;
export const SALT_STEP = 64;
export const SALT_AT = 32;
export const SALT_BYTES = 32;

export const ENTRY_WORDS = 4;
const BUCKET_BYTES = VISITOR_WAYS * ENTRY_WORDS * 4;
const ZEROS = new Uint8Array(2 ** 20);

/** The first bucket of a level. */
export function bucketsBefore(level: number): number {
  return VISITOR_STRIPES * (2 ** level - 1);
}

export function bytesWith(levels: number): number {
  return HEADER_BYTES + bucketsBefore(levels) * BUCKET_BYTES;
}

const FILE_BYTES = bytesWith(VISITOR_LEVELS);

interface OpenedFile {
  map: Uint8Array<ArrayBuffer>;
  /** The file that another boot has left: what it holds is still to be taken over. */
  old: OldFile | null;
}

/**
 * The file as an earlier run of this boot has left it, or a new one: pages and space on the disk that were there before a
 * power cut need not be there after it, and a store to a page that has no space is a SIGBUS. Nothing is ever synced: what
 * a power cut takes is visitors who may count once more. `complain` hears of a file that cannot be used at all.
 */
export function openFile(path: string, complain: (problem: string) => void): OpenedFile {
  const old = OldFile.open(path);
  if (old === null) return { map: createFile(path, null), old };
  const { problem } = old;
  if (problem === null && old.isOfThisBoot && old.bytes === FILE_BYTES) {
    old.close();
    return { map: mapped(path), old: null };
  }
  if (problem === null) return { map: createFile(path, old.header), old };
  complain(problem);
  old.close();
  return { map: createFile(path, null), old: null };
}

/** Takes space for one level more, so that a full disk is an error here and not a SIGBUS in the mapping. */
export function addLevel(path: string, level: number): void {
  const fd = openSync(path, "r+");
  try {
    allocate(fd, level, level + 1);
  } finally {
    closeSync(fd);
  }
}

/** A file as it was found. */
export class OldFile {
  readonly header: Buffer;
  readonly bytes: number;
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
    this.bytes = fstatSync(fd).size;
    this.header = Buffer.alloc(HEADER_BYTES);
    readSync(fd, this.header, 0, HEADER_BYTES, 0);
  }

  static open(path: string): OldFile | null {
    try {
      return new OldFile(openSync(path, "r"));
    } catch (error) {
      if (isSystemError(error) && error.code === "ENOENT") return null;
      throw error;
    }
  }

  get isOfThisBoot(): boolean {
    return this.header.toString("latin1", BOOT_AT, BOOT_AT + BOOT_BYTES) === bootName();
  }

  /** Why it cannot be used. */
  get problem(): string | null {
    if (this.header.toString("latin1", 0, MAGIC.length) !== MAGIC) return "is no visitors' file of Tally";
    const version = this.header.readInt32LE(4 * VERSION_WORD);
    if (version !== VERSION) return `has layout ${version}, and this version of Tally reads layout ${VERSION}`;
    const levels = this.#levels;
    return levels < 1 || levels > VISITOR_LEVELS ? `claims ${levels} levels` : null;
  }

  /** The entries, a number of whole stripes at a time: the words, and how many entries came before them. */
  *entries(): Generator<{ words: Int32Array; before: number }> {
    const chunk = new Int32Array(ZEROS.length / 4);
    for (let at = HEADER_BYTES; at < Math.min(this.bytes, bytesWith(this.#levels)); ) {
      const length = readSync(this.#fd, chunk, 0, ZEROS.length, at);
      const entries = Math.floor(length / 4 / ENTRY_WORDS);
      if (entries === 0) return;
      yield { words: chunk.subarray(0, entries * ENTRY_WORDS), before: (at - HEADER_BYTES) / 4 / ENTRY_WORDS };
      at += entries * ENTRY_WORDS * 4;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  get #levels(): number {
    return this.header.readInt32LE(4 * LEVELS_WORD);
  }
}

/** A new file with the salts of an old one's header. */
function createFile(path: string, old: Buffer | null): Uint8Array<ArrayBuffer> {
  const fresh = `${path}.new`;
  const fd = openSync(fresh, "w+", 0o600);
  try {
    ftruncateSync(fd, FILE_BYTES);
    writeSync(fd, headerFrom(old), 0, HEADER_BYTES, 0);
    allocate(fd, 0, 1);
    const map = mapped(fresh);
    renameSync(fresh, path);
    return map;
  } finally {
    closeSync(fd);
  }
}

function mapped(path: string): Uint8Array<ArrayBuffer> {
  return Bun.mmap(path, { shared: true }) as Uint8Array<ArrayBuffer>;
}

function allocate(fd: number, from: number, to: number): void {
  const end = bytesWith(to);
  for (let at = bytesWith(from); at < end; ) at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.length, end - at), at);
}

function headerFrom(old: Buffer | null): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  if (old) old.copy(header, SALTS_AT, SALTS_AT, SALTS_AT + SALTS * SALT_STEP);
  header.write(MAGIC, 0, "latin1");
  header.writeInt32LE(VERSION, 4 * VERSION_WORD);
  header.writeInt32LE(1, 4 * LEVELS_WORD);
  header.write(bootName(), BOOT_AT, "latin1");
  return header;
}

function bootName(): string {
  return bootId().slice(0, BOOT_BYTES).padEnd(BOOT_BYTES, "\0");
}
