import { ptr, toArrayBuffer } from "bun:ffi";
import { isSystemError, unavailable } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { VISITOR_LEVELS, VISITOR_STRIPES, VISITOR_WAYS } from "../limits.ts";
import {
  addLevel,
  bucketsBefore,
  bytesWith,
  ENTRY_WORDS,
  HEADER_WORDS,
  LEVELS_WORD,
  type OldFile,
  openFile,
} from "./claims-file.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { Locks } from "./locks.ts";
import { Salts } from "./salts.ts";

/**
 * Claims: what was claimed by whom until when, in memory that all threads of a node share and that outlives SIGKILL.
 *
 * WHERE A CLAIM IS. Ten bits of its fingerprint choose a stripe; in each level, from further bits, one bucket of the stripe
 * (level 0 has one for each stripe, the next one two, then four …). So all buckets in which a claim may stand belong to its
 * stripe, and whoever holds the stripe's lock is alone with them: he looks through all of them, and only then takes the
 * first entry that is over. Of two that race the second sees what the first has put there.
 *
 * THE WORDS of an entry: 32 bits of the fingerprint; 16 more of it, above the upper 16 bits of the time until which it
 * holds; the lower 32 of that time; the owner. An entry is over when its time is: 0 is a free one.
 *
 *   put:  TOP = 0 ─ LOW, OWNER, FINGERPRINT ─ TOP
 *
 * TOP alone, being 0, makes an entry one of 1970, so a process or a thread that dies at any step leaves a free entry or a
 * whole one. The upper word goes through Atomics, which keeps the others between the two.
 *
 * A CLAIM THAT NOBODY USED. The claim stands before the event is counted. Whoever dies in between has answered nobody, and
 * takes the visitor's one event with him, which the caller cannot tell from one that came a moment later; the other way
 * round a visitor would count twice.
 */
const FINGERPRINT = 0;
const TOP = 1;
const LOW = 2;
const OWNER = 3;

const BUCKET_WORDS = VISITOR_WAYS * ENTRY_WORDS;
const TWO_32 = 2 ** 32;
/** Behind the stripes' locks: one for a new level, one for the salts. */
const LEVEL_LOCK = VISITOR_STRIPES;
const SALTS_LOCK = VISITOR_STRIPES + 1;
/** A claim from further ahead than this was made before the clock was set back, and does not hold. */
const AHEAD_MS_MAX = 60_000;

/** What another thread needs to attach; can be cloned. */
export interface ClaimsShare {
  path: string;
  levelsMax: number;
  address: number;
  bytes: number;
  locks: SharedArrayBuffer;
}

/** Nobody's, so never granted again. */
export const NOBODYS = 0;

export class Claims {
  readonly salts: Salts;
  readonly locks: Locks;
  readonly #share: ClaimsShare;
  readonly #words: Int32Array;
  /** Main's: as long as it lives the address is good. */
  readonly #map: Uint8Array | null;
  #free = -1;

  private constructor(share: ClaimsShare, buffer: ArrayBuffer, thread: number, map: Uint8Array | null) {
    this.#share = share;
    this.#map = map;
    this.#words = new Int32Array(buffer);
    this.locks = new Locks(share.locks, thread);
    this.salts = new Salts(buffer, this.locks, SALTS_LOCK);
  }

  /**
   * Main, thread 0: with the claims of an earlier run; `complain` hears of a file that cannot be used. `levelsMax`: how often
   * it may grow, for tests.
   */
  static open(
    path: string,
    {
      nowMs,
      complain,
      levelsMax = VISITOR_LEVELS,
    }: { nowMs: number; complain(problem: string): void; levelsMax?: number },
  ): Claims {
    const { map, old } = openFile(path, complain);
    const share: ClaimsShare = {
      path,
      levelsMax,
      address: ptr(map),
      bytes: map.byteLength,
      locks: Locks.allocate(SALTS_LOCK + 1),
    };
    const claims = new Claims(share, toArrayBuffer(share.address as never, 0, share.bytes), 0, map);
    if (old) claims.#takeOver(old, nowMs);
    return claims;
  }

  static attach(share: ClaimsShare, thread: number): Claims {
    return new Claims(share, toArrayBuffer(share.address as never, 0, share.bytes), thread, null);
  }

  share(): ClaimsShare {
    if (!this.#map) throw new Error("only main shares the claims");
    return this.#share;
  }

  /**
   * Claims for `windowMs`: "new"; "again" where `owner` holds it, since less than `againMs`; "taken" where it is held otherwise.
   * Throws `unavailable` where there is no room.
   */
  claim(
    name: Fingerprint,
    claim: { nowMs: number; windowMs: number; owner: number; againMs?: number },
  ): "new" | "again" | "taken" {
    const { nowMs, windowMs, owner, againMs = Number.POSITIVE_INFINITY } = claim;
    this.#take(name);
    try {
      const entry = this.#find(name, nowMs);
      if (entry >= 0 && this.#until(entry) - nowMs <= windowMs + AHEAD_MS_MAX) {
        const heldMs = nowMs + windowMs - this.#until(entry);
        const isOwn = owner !== NOBODYS && this.#words[entry + OWNER] === owner;
        return isOwn && heldMs < againMs ? "again" : "taken";
      }
      this.#put(entry >= 0 ? entry : this.#room(name, nowMs), name, nowMs + windowMs, owner);
      return "new";
    } finally {
      this.#give(name);
    }
  }

  /** The owner of what is claimed, or null. */
  ownerOf(name: Fingerprint, nowMs: number): number | null {
    this.#take(name);
    try {
      const entry = this.#find(name, nowMs);
      return entry >= 0 ? (this.#words[entry + OWNER] as number) : null;
    } finally {
      this.#give(name);
    }
  }

  /** Says how it is, whoever claimed it before. */
  set(name: Fingerprint, { nowMs, untilMs, owner }: { nowMs: number; untilMs: number; owner: number }): void {
    this.#take(name);
    try {
      const entry = this.#find(name, nowMs);
      this.#put(entry >= 0 ? entry : this.#room(name, nowMs), name, untilMs, owner);
    } finally {
      this.#give(name);
    }
  }

  /** Gives back what was claimed until then; what somebody has claimed since stays. */
  release(name: Fingerprint, { nowMs, untilMs }: { nowMs: number; untilMs: number }): void {
    this.#take(name);
    try {
      const entry = this.#find(name, nowMs);
      if (entry >= 0 && this.#until(entry) === untilMs) Atomics.store(this.#words, entry + TOP, 0);
    } finally {
      this.#give(name);
    }
  }

  /** A thread has died. */
  threadGone(thread: number): void {
    this.locks.threadGone(thread);
  }

  /** Space taken on the disk, and in memory as far as it was touched. */
  get bytes(): number {
    return bytesWith(this.#levels);
  }

  get bytesMax(): number {
    return bytesWith(this.#share.levelsMax);
  }

  get #levels(): number {
    return Atomics.load(this.#words, LEVELS_WORD);
  }

  #take(name: Fingerprint): void {
    this.locks.take(name.place & (VISITOR_STRIPES - 1));
  }

  #give(name: Fingerprint): void {
    this.locks.give(name.place & (VISITOR_STRIPES - 1));
  }

  /** The entry that holds, or -1; `#free` is the first one that is over. */
  #find({ place, low, high }: Fingerprint, nowMs: number): number {
    const words = this.#words;
    const levels = this.#levels;
    this.#free = -1;
    for (let level = 0; level < levels; level++) {
      const first = bucketWord(level, place, low);
      for (let entry = first; entry < first + BUCKET_WORDS; entry += ENTRY_WORDS) {
        if (this.#until(entry) <= nowMs) {
          if (this.#free < 0) this.#free = entry;
        } else if (words[entry + FINGERPRINT] === low && (words[entry + TOP] as number) >>> 16 === high) {
          return entry;
        }
      }
    }
    return -1;
  }

  #until(entry: number): number {
    const top = this.#words[entry + TOP] as number;
    return (top & 0xffff) * TWO_32 + ((this.#words[entry + LOW] as number) >>> 0);
  }

  #put(entry: number, name: Fingerprint, untilMs: number, owner: number): void {
    const words = this.#words;
    Atomics.store(words, entry + TOP, 0);
    words[entry + LOW] = untilMs % TWO_32;
    words[entry + OWNER] = owner;
    words[entry + FINGERPRINT] = name.low;
    fault("visitors.putting");
    Atomics.store(words, entry + TOP, (name.high << 16) | Math.floor(untilMs / TWO_32));
  }

  /** An entry that is over, after #find has found none that holds; with another level where all are full. */
  #room(name: Fingerprint, nowMs: number): number {
    for (let levels = this.#levels; this.#free < 0; levels = this.#levels) {
      if (levels >= this.#share.levelsMax) {
        throw unavailable("more visitors than can be remembered have counted lately; nothing was counted", 60);
      }
      this.#grow(levels);
      this.#find(name, nowMs);
    }
    return this.#free;
  }

  /** Locks are taken in this order alone: a stripe, then the level's. */
  #grow(levels: number): void {
    this.locks.take(LEVEL_LOCK);
    try {
      if (this.#levels !== levels) return;
      addLevel(this.#share.path, levels);
      fault("visitors.growing");
      Atomics.store(this.#words, LEVELS_WORD, levels + 1);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      throw unavailable(`visitors cannot be remembered: ${error.message}; nothing was counted`);
    } finally {
      this.locks.give(LEVEL_LOCK);
    }
  }

  /** What holds in a file of another boot: an entry's stripe is where it stands, all else is in it. */
  #takeOver(old: OldFile, nowMs: number): void {
    for (const { words, before } of old.entries()) {
      for (let at = 0; at < words.length; at += ENTRY_WORDS) {
        const top = words[at + TOP] as number;
        const untilMs = (top & 0xffff) * TWO_32 + ((words[at + LOW] as number) >>> 0);
        if (untilMs <= nowMs) continue;
        const bucket = Math.floor((before + at / ENTRY_WORDS) / VISITOR_WAYS);
        const place = bucket & (VISITOR_STRIPES - 1);
        const name = { place, low: words[at + FINGERPRINT] as number, high: top >>> 16, text: "" };
        this.set(name, { nowMs, untilMs, owner: words[at + OWNER] as number });
      }
    }
    old.close();
  }
}

/** The first word of the bucket that a claim has in a level. Levels and their halves are whole numbers of stripes. */
function bucketWord(level: number, place: number, low: number): number {
  const turn = (low & (2 ** level - 1)) * VISITOR_STRIPES;
  const bucket = bucketsBefore(level) + turn + (place & (VISITOR_STRIPES - 1));
  return HEADER_WORDS + bucket * BUCKET_WORDS;
}
