import { newestFirst, type Place } from "../arithmetic/place.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import { copyBytes } from "../lib/bytes.ts";
import { acquire, fence } from "../lib/fence.ts";
import { murmur3 } from "../lib/hash.ts";
import { encodeUtf8 } from "../lib/utf8.ts";
import { OVERLAY_GENERATION_BYTES, OVERLAY_GENERATION_RECORDS, OVERLAY_GENERATIONS } from "../limits.ts";
import { ID_BYTES_MAX, SUBJECT_BYTES_MAX } from "../model.ts";
import type { Position } from "../ports/log.ts";

/**
 * The registers that are in the log and not yet in the ledger, in memory that all threads share. One thread writes (the
 * log's writer, after a frame is durable), all read, nobody locks.
 *
 * It is a queue of *generations*. A generation only grows: a record is appended to its arena and then published by storing
 * its offset as the head of three chains (of its register, its subject, its actor), so a reader sees whole records, newest
 * first. When the ledger has a generation's last record, the whole generation leaves the queue and is emptied for reuse.
 *
 * A reader against an emptied generation:
 *     reader                                      writer
 *     left = number of generations that left
 *     reads chains, records                       left + 1 (Atomics.store), then zeroes the heads, later writes anew
 *     left again: the same? then what was read was whole, as the store of `left` comes before any zero or reuse;
 *     another? read again.
 * And what a reader no longer finds here, it finds in the ledger, because it looks there second.
 */

/** Names one relation for the overlay: encoded and hashed once, then used for look-ups and for the act's message. */
export class RegisterKey {
  readonly bytes = Buffer.alloc(SUBJECT_BYTES_MAX + ID_BYTES_MAX + 3);
  subjectBytes = 0;
  actorBytes = 0;
  subjectHash = 0;
  actorHash = 0;

  set(subject: string, actor: string, seed: number): void {
    this.setSubject(subject, seed);
    this.#setActor(actor, seed);
  }

  setSubject(subject: string, seed: number): void {
    this.subjectBytes = encodeUtf8(subject, this.bytes, 0);
    this.subjectHash = murmur3(this.bytes, 0, this.subjectBytes, seed);
    this.actorBytes = 0;
  }

  /** Another actor on the same subject. */
  #setActor(actor: string, seed: number): void {
    const end = encodeUtf8(actor, this.bytes, this.subjectBytes);
    this.actorBytes = end - this.subjectBytes;
    this.actorHash = murmur3(this.bytes, this.subjectBytes, end, seed);
  }

  /** Only an actor, for the lists of one. */
  setActor(actor: string, seed: number): void {
    this.subjectBytes = 0;
    this.#setActor(actor, seed);
  }
}

/** A record of the overlay as the lists see it: the actor (by subject) or the subject (by actor). */
export type OverlayItem = Place;

export interface OverlayShare {
  seed: number;
  control: SharedArrayBuffer;
  generations: SharedArrayBuffer[];
}

// Control words.
const LEFT = 0; // generations that have left the queue, ever
const ENTERED = 1; // generations that have entered it, ever
const RECORDS = 2; // records in the queue now, for the metrics
const QUEUE = 4; // then the queue: number of the generation, at (count % OVERLAY_GENERATIONS)

// A generation's Int32 words: three tables of heads, then the arena.
const BUCKETS = 65_536;
const BY_REGISTER = 0;
const BY_SUBJECT = BUCKETS;
const BY_ACTOR = 2 * BUCKETS;
const ARENA = 3 * BUCKETS;
const GENERATION_WORDS = ARENA + OVERLAY_GENERATION_BYTES / 4;

// A record's words.
const NEXT = 0; // of the register's, subject's, actor's chain: 0, 1, 2
const STAMP_LOW = 3;
const STAMP_HIGH = 4;
const SUBJECT_HASH = 5;
const ACTOR_HASH = 6;
const SHAPE = 7; // metric << 16 | subject bytes << 8 | actor bytes
const IDS = 8;
const TWO_32 = 4294967296;

interface Generation {
  words: Int32Array;
  bytes: Buffer;
}

/** How to reach one chain of a generation. */
interface Chain {
  heads: number;
  next: number;
}
const SUBJECT_CHAIN: Chain = { heads: BY_SUBJECT, next: 1 };
const ACTOR_CHAIN: Chain = { heads: BY_ACTOR, next: 2 };

export class Overlay {
  readonly seed: number;
  protected readonly control: Int32Array;
  protected readonly generations: Generation[];

  constructor(share: OverlayShare) {
    this.seed = share.seed;
    this.control = new Int32Array(share.control);
    this.generations = share.generations.map((memory) => ({
      words: new Int32Array(memory),
      bytes: Buffer.from(memory),
    }));
  }

  /** Memory for all threads. Pages that were never used cost nothing. */
  static allocate(): OverlayShare {
    const generations: SharedArrayBuffer[] = [];
    for (let i = 0; i < OVERLAY_GENERATIONS; i++) generations.push(new SharedArrayBuffer(GENERATION_WORDS * 4));
    const seed = crypto.getRandomValues(new Int32Array(1))[0] as number;
    return { seed, control: new SharedArrayBuffer((QUEUE + OVERLAY_GENERATIONS) * 4), generations };
  }

  get records(): number {
    return Atomics.load(this.control, RECORDS);
  }

  /** The register's newest stamp on its way to the ledger, 0 where there is none. */
  find(metric: number, key: RegisterKey): Stamp {
    for (;;) {
      const left = acquire(this.control, LEFT);
      const stamp = this.#find(metric, key, left);
      if (this.hasLeft() === left) return stamp;
    }
  }

  #find(metric: number, key: RegisterKey, left: number): Stamp {
    const bucket = BY_REGISTER + registerBucket(metric, key.subjectHash, key.actorHash);
    const shape = (metric << 16) | (key.subjectBytes << 8) | key.actorBytes;
    for (let i = acquire(this.control, ENTERED) - 1; i >= left; i--) {
      const generation = this.generationAt(i);
      const words = generation.words;
      for (let at = acquire(words, bucket); at !== 0; at = older(words, at, NEXT)) {
        if (words[at + SHAPE] !== shape || words[at + SUBJECT_HASH] !== key.subjectHash) continue;
        if (words[at + ACTOR_HASH] !== key.actorHash) continue;
        if (sameBytes(generation.bytes, (at + IDS) * 4, key.bytes, 0, key.subjectBytes + key.actorBytes)) {
          return stampAt(words, at);
        }
      }
    }
    return 0;
  }

  /** False: no register of the metric and the key's actor (`RegisterKey.setActor`) is on its way. */
  mayHoldActor(metric: number, key: RegisterKey): boolean {
    for (;;) {
      const left = acquire(this.control, LEFT);
      let holds = false;
      for (let i = acquire(this.control, ENTERED) - 1; i >= left && !holds; i--) {
        const { words } = this.generationAt(i);
        const head = acquire(words, BY_ACTOR + listBucket(metric, key.actorHash));
        for (let at = head; at !== 0 && !holds; at = older(words, at, ACTOR_CHAIN.next)) {
          holds = words[at + ACTOR_HASH] === key.actorHash;
        }
      }
      if (this.hasLeft() === left) return holds;
    }
  }

  /** Every register of the metric on the key's subject that is on its way, each once, newest first. */
  bySubject(metric: number, key: RegisterKey): OverlayItem[] {
    return this.#list(metric, key, SUBJECT_CHAIN, key.subjectHash);
  }

  /** The same for the key's actor (`RegisterKey.setActor`). */
  byActor(metric: number, key: RegisterKey): OverlayItem[] {
    return this.#list(metric, key, ACTOR_CHAIN, key.actorHash);
  }

  #list(metric: number, key: RegisterKey, chain: Chain, hash: number): OverlayItem[] {
    for (;;) {
      const left = acquire(this.control, LEFT);
      const newest = new Map<string, Stamp>();
      for (let i = acquire(this.control, ENTERED) - 1; i >= left; i--) {
        this.#collect(this.generationAt(i), metric, key, chain, hash, newest);
      }
      if (this.hasLeft() !== left) continue;
      return Array.from(newest, ([id, stamp]) => ({ id, stamp })).sort(newestFirst);
    }
  }

  #collect(
    from: Generation,
    metric: number,
    key: RegisterKey,
    chain: Chain,
    hash: number,
    into: Map<string, Stamp>,
  ): void {
    const { words, bytes } = from;
    const hashWord = chain === SUBJECT_CHAIN ? SUBJECT_HASH : ACTOR_HASH;
    const head = acquire(words, chain.heads + listBucket(metric, hash));
    for (let at = head; at !== 0; at = older(words, at, chain.next)) {
      const shape = words[at + SHAPE] as number;
      if (shape >>> 16 !== metric || words[at + hashWord] !== hash) continue;
      const subjectAt = (at + IDS) * 4;
      const actorAt = subjectAt + ((shape >>> 8) & 0xff);
      const end = actorAt + (shape & 0xff);
      const [own, ownEnd, other, otherEnd] =
        chain === SUBJECT_CHAIN ? [subjectAt, actorAt, actorAt, end] : [actorAt, end, subjectAt, actorAt];
      const length = chain === SUBJECT_CHAIN ? key.subjectBytes : key.actorBytes;
      const keyAt = chain === SUBJECT_CHAIN ? 0 : key.subjectBytes;
      if (ownEnd - own !== length || !sameBytes(bytes, own, key.bytes, keyAt, length)) continue;
      // Copied out first: a string made from memory that is written again later must not be read lazily.
      const id = Buffer.from(bytes.subarray(other, otherEnd)).toString("utf8");
      const stamp = stampAt(words, at);
      if (stamp > (into.get(id) ?? 0)) into.set(id, stamp);
    }
  }

  /** Behind all that was read so far. */
  private hasLeft(): number {
    fence();
    return this.control[LEFT] as number;
  }

  /** The generation that entered the queue as number `i`. */
  protected generationAt(i: number): Generation {
    const number = this.control[QUEUE + (i % OVERLAY_GENERATIONS)] as number;
    return this.generations[number] as Generation;
  }
}

/** The writer's side. */
export class OverlayWriter extends Overlay {
  /** Generations not in the queue; the one that left last is used first, as its pages are warm. */
  readonly #free: number[];
  /** Where each generation in the queue ends in the log, oldest first. The last one is still being filled. */
  readonly #ends: { generation: number; end: Position; records: number }[] = [];
  #arenaEnd = 0;
  #isSealed = false;

  constructor(share: OverlayShare) {
    super(share);
    this.#free = Array.from(share.generations.keys()).reverse();
  }

  /** How many records can surely be put now, of those whose ids together fit a generation (limits.ts sees to that). */
  room(): number {
    return this.#free.length > 0 ? OVERLAY_GENERATION_RECORDS : 0;
  }

  /** Call for each record of a durable frame that ends at `end`, in the frame's order. Needs `room()` asked before. */
  put(metric: number, key: Omit<RegisterKey, "set">, stamp: Stamp, end: Position): void {
    const idBytes = key.subjectBytes + key.actorBytes;
    const size = IDS + ((idBytes + 3) >> 2);
    let last = this.#ends.at(-1);
    if (
      !last ||
      this.#isSealed ||
      last.records === OVERLAY_GENERATION_RECORDS ||
      this.#arenaEnd + size > GENERATION_WORDS
    ) {
      last = this.#enter();
    }
    const { words, bytes } = this.generations[last.generation] as Generation;
    const at = this.#arenaEnd;
    this.#arenaEnd += size;
    words[at + STAMP_LOW] = (stamp % TWO_32) | 0;
    words[at + STAMP_HIGH] = Math.floor(stamp / TWO_32);
    words[at + SUBJECT_HASH] = key.subjectHash;
    words[at + ACTOR_HASH] = key.actorHash;
    words[at + SHAPE] = (metric << 16) | (key.subjectBytes << 8) | key.actorBytes;
    copyBytes(key.bytes, 0, bytes, (at + IDS) * 4, idBytes);
    this.#publish(words, at, 0, BY_REGISTER + registerBucket(metric, key.subjectHash, key.actorHash));
    this.#publish(words, at, 1, BY_SUBJECT + listBucket(metric, key.subjectHash));
    this.#publish(words, at, 2, BY_ACTOR + listBucket(metric, key.actorHash));
    last.end = end;
    last.records++;
    Atomics.add(this.control, RECORDS, 1);
  }

  /** Lets the generations go that the ledger has whole. */
  applied(position: Position): void {
    for (let first = this.#ends[0]; first && first.end <= position; first = this.#ends[0]) {
      this.#ends.shift();
      Atomics.add(this.control, LEFT, 1);
      Atomics.sub(this.control, RECORDS, first.records);
      (this.generations[first.generation] as Generation).words.fill(0, 0, ARENA);
      this.#free.push(first.generation);
    }
  }

  /** What is here leaves as soon as the ledger has it, whatever is put behind it. */
  seal(): void {
    this.#isSealed = true;
  }

  #publish(words: Int32Array, at: number, chain: number, head: number): void {
    words[at + NEXT + chain] = words[head] as number;
    Atomics.store(words, head, at);
  }

  #enter(): { generation: number; end: Position; records: number } {
    const generation = this.#free.pop();
    if (generation === undefined) throw new Error("overlay: put without room");
    const entered = Atomics.load(this.control, ENTERED);
    this.control[QUEUE + (entered % OVERLAY_GENERATIONS)] = generation;
    Atomics.store(this.control, ENTERED, entered + 1);
    this.#arenaEnd = ARENA;
    this.#isSealed = false;
    const last = { generation, end: 0, records: 0 };
    this.#ends.push(last);
    return last;
  }
}

/**
 * The record before this one in its chain; 0 at the end. Chains lead to lower and lower places: one that does not has been
 * written anew under the reader, who will see that the generation left; without this check it might walk in a circle.
 */
function older(words: Int32Array, at: number, next: number): number {
  const before = words[at + next] as number;
  return before < at ? before : 0;
}

function registerBucket(metric: number, subjectHash: number, actorHash: number): number {
  return (Math.imul(subjectHash ^ Math.imul(metric, 0x9e3779b1), 0x85ebca6b) ^ actorHash) & (BUCKETS - 1);
}

function listBucket(metric: number, hash: number): number {
  return (hash ^ Math.imul(metric, 0x9e3779b1)) & (BUCKETS - 1);
}

function stampAt(words: Int32Array, at: number): Stamp {
  return (words[at + STAMP_HIGH] as number) * TWO_32 + ((words[at + STAMP_LOW] as number) >>> 0);
}

function sameBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
