import { closeSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import { isSystemError } from "../errors.ts";
import { VISITOR_LEVELS, VISITOR_STRIPES, VISITOR_WAYS } from "../limits.ts";

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
/** Salts: the day (0: none) in a word, and 32 bytes behind it. */
export const SALTS = 5;
export const SALTS_AT = 1024;
export const SALT_STEP = 64;
export const SALT_AT = 32;
export const SALT_BYTES = 32;

export const ENTRY_WORDS = 4;
const BUCKET_BYTES = VISITOR_WAYS * ENTRY_WORDS * 4;

/** The first bucket of a level. */
export function bucketsBefore(level: number): number {
  return VISITOR_STRIPES * (2 ** level - 1);
}

export function bytesWith(levels: number): number {
  return HEADER_BYTES + bucketsBefore(levels) * BUCKET_BYTES;
}

const FILE_BYTES = bytesWith(VISITOR_LEVELS);
const ZEROS = new Uint8Array(2 ** 20);

/**
 * A new file with what `old` has of salts, mapped. Nothing of it is synced: what a power cut takes is visitors
 * who may count once more.
 */
export function createFile(path: string, old: Buffer | null): Uint8Array<ArrayBuffer> {
  const fresh = `${path}.new`;
  const fd = openSync(fresh, "w+", 0o600);
  try {
    ftruncateSync(fd, FILE_BYTES);
    writeSync(fd, headerFrom(old), 0, HEADER_BYTES, 0);
    allocate(fd, 0, 1);
    const map = Bun.mmap(fresh, { shared: true }) as Uint8Array<ArrayBuffer>;
    renameSync(fresh, path);
    return map;
  } finally {
    closeSync(fd);
  }
}

/** The used part of an earlier file; null where there is none, a text where it is not to be used. */
export function readFile(path: string): Buffer | string | null {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if (isSystemError(error) && error.code === "ENOENT") return null;
    throw error;
  }
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    readSync(fd, header, 0, HEADER_BYTES, 0);
    if (header.toString("latin1", 0, MAGIC.length) !== MAGIC) return "is no visitors' file of Tally";
    const version = header.readInt32LE(4 * VERSION_WORD);
    if (version !== VERSION) return `has layout ${version}, and this version of Tally reads layout ${VERSION}`;
    const levels = header.readInt32LE(4 * LEVELS_WORD);
    if (levels < 1 || levels > VISITOR_LEVELS) return `claims ${levels} levels`;
    const all = Buffer.alloc(bytesWith(levels));
    for (let at = 0; at < all.length; ) {
      const read = readSync(fd, all, at, all.length - at, at);
      if (read === 0) break;
      at += read;
    }
    return all;
  } finally {
    closeSync(fd);
  }
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

function allocate(fd: number, from: number, to: number): void {
  const end = bytesWith(to);
  for (let at = bytesWith(from); at < end; ) at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.length, end - at), at);
}

function headerFrom(old: Buffer | null): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  if (old) old.copy(header, 0, 0, HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeInt32LE(VERSION, 4 * VERSION_WORD);
  header.writeInt32LE(1, 4 * LEVELS_WORD);
  return header;
}
