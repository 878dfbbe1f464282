import { copyBytes } from "../lib/bytes.ts";
import { encodeUtf8 } from "../lib/utf8.ts";

/*
 * By how much counts changed in which step, compact: what a batch of the projector has changed, and what a step of the
 * rankings holds.
 *
 *     frame   version u8, groups
 *     group   metric u8, step u32 (its first second since 1970), count u32, entries
 *     entry   subject (u8 length, UTF-8), amount (i8, or -128 and an f64)
 *
 * Groups of metric 0 are marks: their entries are subjects in pairs, of which the first becomes the second. What stands before
 * them happened before.
 */
const VERSION = 1;
/** Frames that are stored are about so long at most: twice that, as SQL has it, is far below what any server takes at once. */
export const FRAME_BYTES = 1_000_000;
const HEAD_BYTES = 9;
const LONG = -128;
/** A subject of 161 bytes that TextEncoder has three bytes of room for each letter of, and a long amount. */
const ENTRY_BYTES_MAX = 512;

interface Group {
  metric: number;
  at: number;
  bytes: Buffer;
  end: number;
  count: number;
}

/** Gathers changes by metric and step: 0.1 µs each. */
export class ChangeWriter {
  readonly #groups = new Map<number, Group>();
  #last: Group | null = null;
  /** Groups and marks (a subject and what it becomes, in turn) as they follow each other. */
  #parts: (Group | string[])[] = [];

  add(metric: number, at: number, subject: string, amount: number): void {
    const group = this.#group(metric, at);
    const start = group.end + 1;
    group.end = encodeUtf8(subject, group.bytes, start);
    group.bytes[start - 1] = group.end - start;
    end(group, amount);
  }

  addBytes(
    name: { metric: number; at: number },
    from: Uint8Array,
    start: number,
    length: number,
    amount: number,
  ): void {
    const group = this.#group(name.metric, name.at);
    group.bytes[group.end] = length;
    copyBytes(from, start, group.bytes, group.end + 1, length);
    group.end += 1 + length;
    end(group, amount);
  }

  /** What was added of the subject, and all before, is the other one's, or (empty) nobody's. */
  becomes(subject: string, other: string): void {
    this.#groups.clear();
    this.#last = null;
    const last = this.#parts.at(-1);
    if (Array.isArray(last)) last.push(subject, other);
    else this.#parts.push([subject, other]);
  }

  /** All of it so far as frames of about `bytesMax`, for the first time or again; none where nothing was added. */
  finish(bytesMax = Number.POSITIVE_INFINITY): Buffer[] {
    const frames: Buffer[] = [];
    let parts: Buffer[] = [];
    let size = 0;
    const flush = () => {
      if (parts.length > 0) frames.push(Buffer.concat([Buffer.of(VERSION), ...parts]));
      parts = [];
      size = 0;
    };
    for (const each of this.#parts) {
      for (const part of Array.isArray(each) ? [marksOf(each)] : partsOf(each, bytesMax)) {
        if (size + part.length > bytesMax) flush();
        parts.push(part);
        size += part.length;
      }
    }
    flush();
    return frames;
  }

  clear(): void {
    this.#parts = [];
    this.#groups.clear();
    this.#last = null;
  }

  #group(metric: number, at: number): Group {
    let group = this.#last;
    if (group === null || group.metric !== metric || group.at !== at) {
      const key = metric * 2 ** 32 + at;
      group = this.#groups.get(key) ?? null;
      if (group === null) {
        group = { metric, at, bytes: Buffer.allocUnsafe(4_096), end: HEAD_BYTES, count: 0 };
        this.#groups.set(key, group);
        this.#parts.push(group);
      }
      this.#last = group;
    }
    if (group.end + ENTRY_BYTES_MAX > group.bytes.length) {
      const grown = Buffer.allocUnsafe(group.bytes.length * 2);
      grown.set(group.bytes.subarray(0, group.end));
      group.bytes = grown;
    }
    return group;
  }
}

function end(group: Group, amount: number): void {
  if (Math.abs(amount) < 128 && Number.isInteger(amount)) {
    group.end = group.bytes.writeInt8(amount, group.end);
  } else {
    group.end = group.bytes.writeInt8(LONG, group.end);
    group.end = group.bytes.writeDoubleLE(amount, group.end);
  }
  group.count++;
}

/** The group with its head, cut into several where it is longer than that. */
function* partsOf({ metric, at, bytes, end, count }: Group, bytesMax: number): Generator<Buffer> {
  for (let from = HEAD_BYTES, left = count; left > 0; ) {
    let to = from;
    let entries = 0;
    if (end - from <= bytesMax) {
      to = end;
      entries = left;
    } else {
      while (to - from < bytesMax && to < end) {
        to = entryEnd(bytes, to);
        entries++;
      }
    }
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head[0] = metric;
    head.writeUInt32LE(at, 1);
    head.writeUInt32LE(entries, 5);
    yield Buffer.concat([head, bytes.subarray(from, to)]);
    from = to;
    left -= entries;
  }
}

function marksOf(marks: readonly string[]): Buffer {
  const entries = marks.map((subject) => {
    const bytes = Buffer.from(subject);
    return Buffer.concat([Buffer.of(bytes.length), bytes, Buffer.of(0)]);
  });
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(marks.length, 5);
  return Buffer.concat([head, ...entries]);
}

function entryEnd(bytes: Buffer, at: number): number {
  const amountAt = at + 1 + (bytes[at] as number);
  return amountAt + (bytes.readInt8(amountAt) === LONG ? 9 : 1);
}

/** One change, or (metric 0) one half of a mark. The subject's bytes are `bytes[start, end)`. */
export type VisitChange = (
  name: { metric: number; at: number },
  bytes: Buffer,
  start: number,
  end: number,
  amount: number,
) => void;

/** What a batch of the projector has changed, in its order: changes, and (`become`) what a subject has is another one's, or nobody's. */
export function readBatch(bytes: Buffer, change: VisitChange, become: (subject: Buffer, other: Buffer) => void): void {
  let marked: Buffer | null = null;
  readChanges(bytes, (name, frame, start, end, amount) => {
    if (name.metric !== 0) return change(name, frame, start, end, amount);
    const subject = Buffer.from(frame.subarray(start, end));
    if (marked !== null) become(marked, subject);
    marked = marked === null ? subject : null;
  });
}

export function readChanges(bytes: Buffer, visit: VisitChange): void {
  if (bytes[0] !== VERSION) throw new Error(`changes of version ${bytes[0]}: written by another version of tally`);
  for (let at = 1; at < bytes.length; ) {
    const name = { metric: bytes[at] as number, at: bytes.readUInt32LE(at + 1) };
    const count = bytes.readUInt32LE(at + 5);
    at += HEAD_BYTES;
    for (let i = 0; i < count; i++) {
      const start = at + 1;
      const end = start + (bytes[at] as number);
      let amount = bytes.readInt8(end);
      at = end + 1;
      if (amount === LONG) {
        amount = bytes.readDoubleLE(at);
        at += 8;
      }
      visit(name, bytes, start, end, amount);
    }
  }
}
