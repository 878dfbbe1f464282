import { copyBytes } from "./lib/bytes.ts";
import { decodeUtf8, encodeUtf8 } from "./lib/utf8.ts";
import type { OnceKey } from "./ports/counting.ts";

/**
 * The log's content. Whatever changes a number is a record, named by (source, shard, n): n counts 1, 2, 3 … for each
 * source and shard, and decides what is applied (arithmetic/source.ts). A frame holds the records of one source that are
 * appended together: all of them or none.
 *
 * Merges and erasures span shards: they are jobs, whose source is the job's id, and whose records are these same kinds.
 */
export type LogRecord =
  | RelationRecord
  | TallyRecord
  | SetRecord
  | EraseRecord
  | MergeRecord
  | VisitorRecord
  | VoidRecord;

interface Numbered {
  /** 0–255, by hash of the subject (`shardOf`). */
  shard: number;
  /** From 1, without gaps, for each source and shard. */
  n: number;
  metric: number;
  subject: string;
  /** Present where a caller named the act by an Idempotency-Key. */
  once?: RecordOnce | undefined;
}

interface Timed {
  /** Of another time, which its caller gave: it counts, and nobody is told of it. */
  past?: boolean | undefined;
}

/** The key and when it was used (milliseconds since 1970), which a relation's stamp need not say. */
export interface RecordOnce extends OnceKey {
  atMs: number;
}

/** A register is set: wins if its stamp is above the stored one. The active bit is the stamp's last. */
export interface RelationRecord extends Numbered, Timed {
  kind: "relation";
  actor: string;
  stamp: number;
}

/** A tally grows by `amount`. `atMs` (since 1970) says in which step of the history. */
export interface TallyRecord extends Numbered, Timed {
  kind: "tally";
  amount: number;
  atMs: number;
  /** Where the amount came from in the counter table, and the slot's `noted` word after it: what recovery needs. */
  slot: number;
  notedAfter: number;
}

/** A tally becomes `count`: the difference to the total at this place of the log is added. */
export interface SetRecord extends Numbered {
  kind: "set";
  count: number;
  atMs: number;
}

/**
 * Whatever stands before it in the log is gone: of the subject (`actor` empty), or of the actor on every subject (`subject`
 * empty). Of the actor nothing comes after it either that is not newer than `stamp`.
 */
export interface EraseRecord extends Numbered {
  kind: "erase";
  actor: string;
  stamp: number;
}

/** What stands before it in the log for `subject` is from now on that of `to`. */
export interface MergeRecord extends Numbered {
  kind: "merge";
  to: string;
}

/** Records whose place in the log is between what came before and after: a transaction ends with them. */
export type JobRecord = EraseRecord | MergeRecord;

/** The tally's sketches (of all time, and of the day of `atMs`) take this visitor in. Only where it may change them. */
export interface VisitorRecord extends Numbered {
  kind: "visitor";
  /** As distinct/code.ts has it. */
  code: number;
  atMs: number;
}

/** Nothing changes. It takes a key, or a number that its source has given to something that does not count. */
export interface VoidRecord extends Numbered {
  kind: "void";
}

export interface Frame {
  source: string;
  records: LogRecord[];
}

/** A tally that did not come through a slot (it was named by a key). */
export const NO_SLOT = 0xffffffff;

const VERSION = 1;
const RELATION = 1;
const TALLY = 2;
const SET = 3;
const ERASE = 4;
const MERGE = 5;
const VISITOR = 6;
const VOID = 7;
const ONCE = 0x80;
const PAST = 0x40;
const FLAGS = ONCE | PAST;
const KEY_BYTES = 16;
const BODY_BYTES = 8;
const ONCE_BYTES = KEY_BYTES + BODY_BYTES + 8;
/** The longest record: fixed fields, two ids of 255 bytes at most, and a key. */
const RECORD_BYTES_MAX = 64 + 2 * 255 + ONCE_BYTES;

type Head = Pick<RelationRecord, "shard" | "n" | "metric" | "once" | "past">;

/**
 * Writes one frame after the other into one buffer that grows and is reused.
 *
 *     frame   version u8, source (u8 length, ASCII), count u32, records
 *     record  kind u8 (| 0x80: has a key, | 0x40: is of another time), shard u8, n u48, metric u8, its numbers,
 *             [key 16, body 8, at f64], u8 lengths, ids
 */
export class FrameWriter {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #end = 0;
  #countAt = 0;
  count = 0;

  begin(source: string): void {
    this.#bytes[0] = VERSION;
    this.#bytes[1] = source.length;
    this.#countAt = 2 + this.#bytes.latin1Write(source, 2);
    this.#end = this.#countAt + 4;
    this.count = 0;
  }

  /** The bytes so far, its own until the next `begin`. */
  finish(): Buffer {
    this.#bytes.writeUInt32LE(this.count, this.#countAt);
    return this.#bytes.subarray(0, this.#end);
  }

  /** What the frame holds so far. */
  read(): Frame {
    return readFrame(this.finish());
  }

  get size(): number {
    return this.#end;
  }

  /** A relation whose ids are bytes already: subject and actor stand one after the other at `ids[at…]`. */
  relation(head: Head, stamp: number, ids: Uint8Array, at: number, subjectBytes: number, actorBytes: number): void {
    this.#head(RELATION, head);
    this.#end = this.#bytes.writeDoubleLE(stamp, this.#end);
    this.#once(head.once);
    this.#bytes[this.#end++] = subjectBytes;
    this.#bytes[this.#end++] = actorBytes;
    copyBytes(ids, at, this.#bytes, this.#end, subjectBytes + actorBytes);
    this.#end += subjectBytes + actorBytes;
  }

  /** A tally whose subject is bytes already, at the beginning of `subject`. */
  tally(
    head: { shard: number; n: number; metric: number },
    values: Pick<TallyRecord, "amount" | "atMs" | "slot" | "notedAfter">,
    subject: Uint8Array,
    subjectBytes: number,
  ): void {
    this.#head(TALLY, head);
    this.#tallyValues(values);
    this.#bytes[this.#end++] = subjectBytes;
    this.#bytes[this.#end++] = 0;
    copyBytes(subject, 0, this.#bytes, this.#end, subjectBytes);
    this.#end += subjectBytes;
  }

  #tallyValues({ amount, atMs, slot, notedAfter }: Pick<TallyRecord, "amount" | "atMs" | "slot" | "notedAfter">): void {
    this.#end = this.#bytes.writeDoubleLE(amount, this.#end);
    this.#end = this.#bytes.writeDoubleLE(atMs, this.#end);
    this.#end = this.#bytes.writeUInt32LE(slot, this.#end);
    this.#end = this.#bytes.writeUInt32LE(notedAfter, this.#end);
  }

  add(record: LogRecord): void {
    switch (record.kind) {
      case "relation":
      case "erase":
        this.#head(record.kind === "relation" ? RELATION : ERASE, record);
        this.#end = this.#bytes.writeDoubleLE(record.stamp, this.#end);
        break;
      case "tally":
        this.#head(TALLY, record);
        this.#tallyValues(record);
        break;
      case "set":
        this.#head(SET, record);
        this.#end = this.#bytes.writeDoubleLE(record.count, this.#end);
        this.#end = this.#bytes.writeDoubleLE(record.atMs, this.#end);
        break;
      case "merge":
        this.#head(MERGE, record);
        this.#end = this.#bytes.writeDoubleLE(0, this.#end);
        break;
      case "visitor":
        this.#head(VISITOR, record);
        this.#end = this.#bytes.writeDoubleLE(record.code, this.#end);
        this.#end = this.#bytes.writeDoubleLE(record.atMs, this.#end);
        break;
      case "void":
        this.#head(VOID, record);
        this.#end = this.#bytes.writeDoubleLE(0, this.#end);
    }
    this.#once(record.once);
    const lengths = this.#end;
    this.#end += 2;
    this.#end = encodeUtf8(record.subject, this.#bytes, this.#end);
    this.#bytes[lengths] = this.#end - lengths - 2;
    const actorAt = this.#end;
    if (record.kind === "relation" || record.kind === "erase") {
      this.#end = encodeUtf8(record.actor, this.#bytes, this.#end);
    } else if (record.kind === "merge") this.#end = encodeUtf8(record.to, this.#bytes, this.#end);
    this.#bytes[lengths + 1] = this.#end - actorAt;
  }

  #head(kind: number, head: Head): void {
    if (this.#end + RECORD_BYTES_MAX > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(this.#bytes.length * 2);
      grown.set(this.#bytes.subarray(0, this.#end));
      this.#bytes = grown;
    }
    const bytes = this.#bytes;
    const at = this.#end;
    bytes[at] = kind | (head.once ? ONCE : 0) | (head.past === true ? PAST : 0);
    bytes[at + 1] = head.shard;
    bytes.writeUIntLE(head.n, at + 2, 6);
    bytes[at + 8] = head.metric;
    this.#end = at + 9;
    this.count++;
  }

  #once(once: RecordOnce | undefined): void {
    if (!once) return;
    this.#end += this.#bytes.hexWrite(once.key, this.#end, KEY_BYTES);
    this.#end += this.#bytes.hexWrite(once.body, this.#end, BODY_BYTES);
    this.#end = this.#bytes.writeDoubleLE(once.atMs, this.#end);
  }
}

/** Whose frame it is, without reading its records. */
export function frameSource(bytes: Buffer): string {
  return bytes.latin1Slice(2, 2 + (bytes[1] as number));
}

/** Reads a frame. Throws where it is not one: a log that cannot be read must stop everything, loudly. */
export function readFrame(bytes: Buffer): Frame {
  if (bytes[0] !== VERSION) throw new Error(`log frame of version ${bytes[0]}: written by another version of tally`);
  const sourceEnd = 2 + (bytes[1] as number);
  const source = bytes.latin1Slice(2, sourceEnd);
  const count = bytes.readUInt32LE(sourceEnd);
  const records: LogRecord[] = new Array(count);
  let at = sourceEnd + 4;
  for (let i = 0; i < count; i++) {
    const kind = bytes[at] as number;
    const shard = bytes[at + 1] as number;
    const n = bytes.readUIntLE(at + 2, 6);
    const metric = bytes[at + 8] as number;
    const first = bytes.readDoubleLE(at + 9);
    at += 17;
    let atMs = 0;
    let slot = NO_SLOT;
    let notedAfter = 0;
    const plain = kind & ~FLAGS;
    const past = kind & PAST ? true : undefined;
    if (plain === TALLY || plain === SET || plain === VISITOR) {
      atMs = bytes.readDoubleLE(at);
      at += 8;
    }
    if (plain === TALLY) {
      slot = bytes.readUInt32LE(at);
      notedAfter = bytes.readUInt32LE(at + 4);
      at += 8;
    }
    let once: RecordOnce | undefined;
    if (kind & ONCE) {
      const bodyAt = at + KEY_BYTES;
      const atMsAt = bodyAt + BODY_BYTES;
      once = {
        key: bytes.hexSlice(at, bodyAt),
        body: bytes.hexSlice(bodyAt, atMsAt),
        atMs: bytes.readDoubleLE(atMsAt),
      };
      at += ONCE_BYTES;
    }
    const subjectEnd = at + 2 + (bytes[at] as number);
    const actorEnd = subjectEnd + (bytes[at + 1] as number);
    const subject = decodeUtf8(bytes, at + 2, subjectEnd);
    const actor = decodeUtf8(bytes, subjectEnd, actorEnd);
    at = actorEnd;
    switch (plain) {
      case RELATION:
        records[i] = { kind: "relation", shard, n, metric, subject, once, past, actor, stamp: first };
        break;
      case TALLY:
        records[i] = { kind: "tally", shard, n, metric, subject, once, past, amount: first, atMs, slot, notedAfter };
        break;
      case SET:
        records[i] = { kind: "set", shard, n, metric, subject, once, count: first, atMs };
        break;
      case ERASE:
        records[i] = { kind: "erase", shard, n, metric, subject, once, actor, stamp: first };
        break;
      case MERGE:
        records[i] = { kind: "merge", shard, n, metric, subject, once, to: actor };
        break;
      case VISITOR:
        records[i] = { kind: "visitor", shard, n, metric, subject, once, code: first, atMs };
        break;
      case VOID:
        records[i] = { kind: "void", shard, n, metric, subject, once };
        break;
      default:
        throw new Error(`log record of kind ${plain} at byte ${at}: the log is damaged`);
    }
  }
  if (at !== bytes.length) throw new Error(`log frame of ${bytes.length} bytes ends at ${at}: the log is damaged`);
  return { source, records };
}
