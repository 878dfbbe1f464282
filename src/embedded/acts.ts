import { copyBytes } from "../lib/bytes.ts";
import { ACT_BYTES_MAX, ACTS_UNDER_WAY_MAX, RING_BYTES } from "../limits.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { RegisterKey } from "./overlay.ts";

/**
 * Acts on their way from one worker to the writer, and the replies back: two rings in shared memory, each with one
 * writing and one reading thread, so a counter of what was written and one of what was read are all they need. Nothing is
 * cloned and nothing is allocated for an act. The doorbell is a futex; a reply wakes the worker's event loop by an empty
 * message, at most one for each frame (measured: 39 µs there and back, against 50 µs with Atomics.waitAsync).
 *
 *     act    id u32 | kind u8, metric u8, shard u8, flags u8 | subject bytes u8, actor bytes u8, - u16
 *            | subject hash, actor hash | by u32 | sent (Date.now() mod 2^32) u32 | ids | [key 16, body 8] [at f64], padded to 4
 *
 * An act never wraps around.
 */
export interface ActRingShare {
  control: SharedArrayBuffer;
  acts: SharedArrayBuffer;
  replies: SharedArrayBuffer;
}

export const RELATE = 1;
export const ADD_ONCE = 2;
/** A visitor of a distinct tally; his code stands in the place of the actor, as it may in ADD_ONCE. */
export const VISIT = 3;
/** How many visitors there were: the reply's count is that of today, its stamp that of all time. */
export const VISITORS = 4;
/** A key of an upload, which concerns no counter. */
export const CLAIM = 5;

const ACTIVE = 1;
const ONCE = 2;
const AT = 4;
const ONCE_BYTES = 24;

export type ReplyStatus = 0 | 1 | 2 | 3 | 4 | 5 | 6;
export const DONE: ReplyStatus = 0;
export const CHANGED: ReplyStatus = 1;
/** The key was used with another body. */
export const KEY_REUSED: ReplyStatus = 2;
/** The counter is not in the table (any more): load it and send the act again. */
export const NOT_LOADED: ReplyStatus = 3;
/** Not done: the disk or a bound is full. */
export const REFUSED: ReplyStatus = 4;
/** An erasure or a merge of what it is about is not in the ledger yet: send it again in a moment. */
export const HELD: ReplyStatus = 5;
/** Not done: the count would pass the largest there is. */
export const TOO_MUCH: ReplyStatus = 6;

const WRITTEN = 0; // bytes of acts, ever (wraps at 2^32)
const READ = 1;
const REPLIED = 2; // replies, ever
const TAKEN = 3;
const WAKING = 4; // 1 from the writer's wake-up until the worker looks
const HEAD_BYTES = 28;
const REPLY_WORDS = 3; // doubles: id and status, count, stamp

/** An act as the writer reads it: a view of the ring, valid until `release`. */
export class Act {
  readonly words: Int32Array;
  readonly bytes: Buffer;
  id = 0;
  kind = 0;
  metric = 0;
  shard = 0;
  active = false;
  keyed = false;
  timed = false;
  subjectBytes = 0;
  actorBytes = 0;
  subjectHash = 0;
  actorHash = 0;
  by = 0;
  idsAt = 0;

  constructor(words: Int32Array, bytes: Buffer) {
    this.words = words;
    this.bytes = bytes;
  }

  load(at: number): void {
    const { words, bytes } = this;
    const word = at >> 2;
    this.id = words[word] as number;
    this.kind = bytes[at + 4] as number;
    this.metric = bytes[at + 5] as number;
    this.shard = bytes[at + 6] as number;
    const flags = bytes[at + 7] as number;
    this.active = (flags & ACTIVE) !== 0;
    this.keyed = (flags & ONCE) !== 0;
    this.timed = (flags & AT) !== 0;
    this.subjectBytes = bytes[at + 8] as number;
    this.actorBytes = bytes[at + 9] as number;
    this.subjectHash = words[word + 3] as number;
    this.actorHash = words[word + 4] as number;
    this.by = words[word + 5] as number;
    this.idsAt = at + HEAD_BYTES;
  }

  /** Read straight from the ring: nobody writes there until `release`. */
  subject(): string {
    return this.bytes.utf8Slice(this.idsAt, this.idsAt + this.subjectBytes);
  }

  actor(): string {
    const from = this.idsAt + this.subjectBytes;
    return this.bytes.utf8Slice(from, from + this.actorBytes);
  }

  /** The visitor's code; −1 where there is none. */
  visitor(): number {
    return this.actorBytes === 0 ? -1 : Number(this.actor());
  }

  once(): OnceKey | undefined {
    if (!this.keyed) return undefined;
    const at = this.idsAt + this.subjectBytes + this.actorBytes;
    return { key: this.bytes.hexSlice(at, at + 16), body: this.bytes.hexSlice(at + 16, at + 24) };
  }

  /** The time it brought with it, milliseconds since 1970. */
  atMs(): number | undefined {
    if (!this.timed) return undefined;
    return this.bytes.readDoubleLE(this.idsAt + this.subjectBytes + this.actorBytes + (this.keyed ? ONCE_BYTES : 0));
  }

  get size(): number {
    const more = (this.keyed ? ONCE_BYTES : 0) + (this.timed ? 8 : 0);
    return (HEAD_BYTES + this.subjectBytes + this.actorBytes + more + 3) & ~3;
  }
}

export function allocateActRing(): ActRingShare {
  return {
    control: new SharedArrayBuffer(64),
    acts: new SharedArrayBuffer(RING_BYTES),
    replies: new SharedArrayBuffer(ACTS_UNDER_WAY_MAX * REPLY_WORDS * 8),
  };
}

/** The worker's side. */
export class ActSender {
  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #bytes: Buffer;
  readonly #replies: Float64Array;

  constructor(share: ActRingShare) {
    this.#control = new Int32Array(share.control);
    this.#words = new Int32Array(share.acts);
    this.#bytes = Buffer.from(share.acts);
    this.#replies = new Float64Array(share.replies);
  }

  /** Puts an act into the ring; false where there is no room. The caller rings the doorbell. */
  send(
    act: { id: number; kind: number; metric: number; shard: number; active: boolean; by: number; sentMs: number },
    key: RegisterKey,
    once: OnceKey | undefined,
    atMs?: number,
  ): boolean {
    const written = Atomics.load(this.#control, WRITTEN) >>> 0;
    const used = (written - Atomics.load(this.#control, READ)) >>> 0;
    if (used + 2 * ACT_BYTES_MAX > RING_BYTES) return false;
    let at = written & (RING_BYTES - 1);
    let skipped = 0;
    if (at + ACT_BYTES_MAX > RING_BYTES) {
      skipped = RING_BYTES - at;
      at = 0;
    }
    const word = at >> 2;
    const idBytes = key.subjectBytes + key.actorBytes;
    this.#words[word] = act.id;
    this.#bytes[at + 4] = act.kind;
    this.#bytes[at + 5] = act.metric;
    this.#bytes[at + 6] = act.shard;
    this.#bytes[at + 7] = (act.active ? ACTIVE : 0) | (once ? ONCE : 0) | (atMs === undefined ? 0 : AT);
    this.#bytes[at + 8] = key.subjectBytes;
    this.#bytes[at + 9] = key.actorBytes;
    this.#words[word + 3] = key.subjectHash;
    this.#words[word + 4] = key.actorHash;
    this.#words[word + 5] = act.by;
    this.#words[word + 6] = act.sentMs | 0;
    let end = at + HEAD_BYTES;
    copyBytes(key.bytes, 0, this.#bytes, end, idBytes);
    end += idBytes;
    if (once) {
      end += this.#bytes.hexWrite(once.key, end, 16);
      end += this.#bytes.hexWrite(once.body, end, 8);
    }
    if (atMs !== undefined) end = this.#bytes.writeDoubleLE(atMs, end);
    const size = (end - at + 3) & ~3;
    Atomics.store(this.#control, WRITTEN, (written + skipped + size) | 0);
    return true;
  }

  /** Takes the replies that have come. */
  replies(visit: (id: number, status: ReplyStatus, count: number, stamp: number) => void): void {
    Atomics.store(this.#control, WAKING, 0);
    let taken = Atomics.load(this.#control, TAKEN) >>> 0;
    while (taken !== Atomics.load(this.#control, REPLIED) >>> 0) {
      const at = (taken % ACTS_UNDER_WAY_MAX) * REPLY_WORDS;
      const head = this.#replies[at] as number;
      const count = this.#replies[at + 1] as number;
      const stamp = this.#replies[at + 2] as number;
      taken = (taken + 1) >>> 0;
      Atomics.store(this.#control, TAKEN, taken | 0);
      visit(Math.floor(head / 8), (head % 8) as ReplyStatus, count, stamp);
    }
  }
}

/** The writer's side of one worker's ring. */
export class ActReceiver {
  readonly act: Act;
  readonly #control: Int32Array;
  readonly #replies: Float64Array;
  #read: number;
  #told = 0;

  constructor(share: ActRingShare) {
    this.#control = new Int32Array(share.control);
    this.act = new Act(new Int32Array(share.acts), Buffer.from(share.acts));
    this.#replies = new Float64Array(share.replies);
    this.#read = Atomics.load(this.#control, READ) >>> 0;
  }

  /** For how long the next act has been waiting (milliseconds), -1 where there is none. */
  nextWaits(nowMs: number): number {
    if (!this.waiting) return -1;
    return Math.max(0, ((nowMs | 0) - (this.act.words[(this.#nextAt() >> 2) + 6] as number)) | 0);
  }

  /** Loads the next act, which must be there. */
  next(): void {
    const at = this.#nextAt();
    this.act.load(at);
    this.#read = (this.#read + this.act.size) >>> 0;
  }

  #nextAt(): number {
    const at = this.#read & (RING_BYTES - 1);
    if (at + ACT_BYTES_MAX <= RING_BYTES) return at;
    this.#read = (this.#read + RING_BYTES - at) >>> 0;
    return 0;
  }

  /** Everything that `next` has given may be overwritten now. */
  release(): void {
    Atomics.store(this.#control, READ, this.#read | 0);
  }

  /** Whether acts wait to be taken. */
  get waiting(): boolean {
    return this.#read !== Atomics.load(this.#control, WRITTEN) >>> 0;
  }

  /**
   * Whether the worker must be woken: there are replies it was not told of, and no wake-up is on its way. The worker clears
   * WAKING before it looks, the writer counts a reply before it looks at WAKING: a reply that is not seen finds it cleared.
   */
  mustWake(): boolean {
    const replied = Atomics.load(this.#control, REPLIED);
    if (replied === this.#told) return false;
    this.#told = replied;
    return Atomics.exchange(this.#control, WAKING, 1) === 0;
  }

  reply(id: number, status: ReplyStatus, count: number, stamp: number): void {
    const replied = Atomics.load(this.#control, REPLIED) >>> 0;
    const at = (replied % ACTS_UNDER_WAY_MAX) * REPLY_WORDS;
    this.#replies[at] = id * 8 + status;
    this.#replies[at + 1] = count;
    this.#replies[at + 2] = stamp;
    Atomics.store(this.#control, REPLIED, (replied + 1) | 0);
  }
}
