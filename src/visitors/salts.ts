import { randomBytes } from "node:crypto";
import { SALT_AT, SALT_BYTES, SALT_STEP, SALTS, SALTS_AT, SALTS_CHANGED_WORD } from "./claims-file.ts";
import type { Locks } from "./locks.ts";

/** Stands for a day that is never over: the salt of actors, whose claims may hold for a year. */
export const ACTORS = 0x7fffffff;

/**
 * The days' salts: random, in the head of the visitors' file, so that all threads have the same and a restart has them too.
 * A day's salt is needed on that day and, for visitors before midnight, as long as they are remembered on the next one; then
 * it is overwritten, and nobody can say any more whose a fingerprint was.
 */
export class Salts {
  readonly #words: Int32Array;
  readonly #bytes: Buffer;
  readonly #locks: Locks;
  readonly #lock: number;
  readonly #known = new Map<number, string>();
  #seen = -1;

  constructor(file: ArrayBuffer, locks: Locks, lock: number) {
    this.#words = new Int32Array(file);
    this.#bytes = Buffer.from(file);
    this.#locks = locks;
    this.#lock = lock;
  }

  /** Counts the changes: where it has not moved, the salts are those they were. */
  get changes(): number {
    return Atomics.load(this.#words, SALTS_CHANGED_WORD);
  }

  /** A day's salt; made now where there is none. */
  of(day: number): string {
    const changes = this.changes;
    if (changes !== this.#seen) {
      this.#known.clear();
      this.#seen = changes;
    }
    const known = this.#known.get(day);
    if (known !== undefined) return known;
    const salt = this.#locked(() => this.#read(day) ?? this.#write(day, randomBytes(SALT_BYTES)));
    this.#known.set(day, salt);
    return salt;
  }

  /** What all nodes have agreed upon. */
  set(day: number, salt: string): void {
    if (this.of(day) === salt) return;
    this.#locked(() => {
      const at = this.#find(day);
      if (at >= 0) this.#clear(at);
      return this.#write(day, Buffer.from(salt, "base64url"));
    });
  }

  /** Forgets the salts of all days before `day`. */
  forgetBefore(day: number): void {
    this.#locked(() => {
      for (let at = SALTS_AT; at < SALTS_AT + SALTS * SALT_STEP; at += SALT_STEP) {
        const there = this.#dayAt(at);
        if (there !== 0 && there < day) this.#clear(at);
      }
    });
  }

  #locked<T>(act: () => T): T {
    this.#locks.take(this.#lock);
    try {
      return act();
    } finally {
      this.#locks.give(this.#lock);
    }
  }

  #dayAt(at: number): number {
    return Atomics.load(this.#words, at / 4);
  }

  #find(day: number): number {
    for (let at = SALTS_AT; at < SALTS_AT + SALTS * SALT_STEP; at += SALT_STEP) if (this.#dayAt(at) === day) return at;
    return -1;
  }

  #read(day: number): string | null {
    const at = this.#find(day);
    return at < 0 ? null : this.#bytes.toString("base64url", at + SALT_AT, at + SALT_AT + SALT_BYTES);
  }

  /** In the place of the oldest. The day last, so that a salt half written is none. */
  #write(day: number, salt: Uint8Array): string {
    let place = SALTS_AT;
    for (let at = SALTS_AT; at < SALTS_AT + SALTS * SALT_STEP; at += SALT_STEP) {
      if (this.#dayAt(at) < this.#dayAt(place)) place = at;
    }
    this.#clear(place);
    this.#bytes.set(salt, place + SALT_AT);
    Atomics.store(this.#words, place / 4, day);
    return Buffer.from(salt).toString("base64url");
  }

  #clear(at: number): void {
    Atomics.store(this.#words, at / 4, 0);
    this.#bytes.fill(0, at + SALT_AT, at + SALT_AT + SALT_BYTES);
    Atomics.add(this.#words, SALTS_CHANGED_WORD, 1);
  }
}
