import { shardOfSubject } from "../arithmetic/shard.ts";
import { isActive, msOf, type Stamp } from "../arithmetic/stamp.ts";
import { keyReused, unavailable } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { ACT_WAIT_MS_MAX, ACTS_UNDER_WAY_MAX } from "../limits.ts";
import { type Actor, countTooHigh, type RelationState, type Subject } from "../model.ts";
import type { OnceKey } from "../ports/counting.ts";
import {
  type ActSender,
  ADD_ONCE,
  CHANGED,
  type CLAIM,
  HELD,
  KEY_REUSED,
  NOT_LOADED,
  REFUSED,
  type RELATE,
  type ReplyStatus,
  TOO_MUCH,
  VISIT,
  VISITORS,
} from "./acts.ts";
import { RegisterKey } from "./overlay.ts";

/** An act under way. What it resolves to depends on its kind, so that no closure need be made for it. */
export interface Waiting {
  readonly kind: typeof RELATE | typeof ADD_ONCE | typeof VISIT | typeof VISITORS | typeof CLAIM;
  readonly metric: number;
  readonly subject: Subject;
  readonly actor: Actor;
  readonly active: boolean;
  readonly by: number;
  readonly once: OnceKey | undefined;
  readonly atMs: number | undefined;
  /** Date.now() when it was sent, or is to be. */
  sentMs: number;
  /** Its caller was told that it takes too long; its place is kept until the writer has answered. */
  isGivenUp: boolean;
  readonly resolve: (result: never) => void;
  readonly reject: (problem: unknown) => void;
}

const GRACE_MS = 1_000;

/** The acts that a request thread has under way to the writer, each with its caller. */
export class ActDesk {
  readonly #acts: ActSender;
  readonly #seed: number;
  readonly #ring: () => void;
  readonly #key = new RegisterKey();
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  readonly #timer: ReturnType<typeof setInterval>;

  /** `ring` wakes the writer. */
  constructor(parts: { acts: ActSender; seed: number; ring: () => void }) {
    this.#acts = parts.acts;
    this.#seed = parts.seed;
    this.#ring = parts.ring;
    this.#timer = setInterval(() => this.#expire(), 250);
  }

  /** Throws where there is no room for it; `reject` is the caller's. */
  send(waiting: Waiting): void {
    if (this.#waiting.size >= ACTS_UNDER_WAY_MAX) throw unavailable("too many acts are under way");
    const id = this.#nextId;
    this.#nextId = id === 0x7fffffff ? 1 : id + 1;
    const { kind, metric, active, by, subject, actor, once, atMs } = waiting;
    // Sent again (the counter had left the table) it keeps its time: what waits too long is refused, however often it was sent.
    if (waiting.sentMs === 0) waiting.sentMs = Date.now();
    const { sentMs } = waiting;
    this.#key.set(subject, actor, this.#seed);
    const shard = shardOfSubject(this.#key.bytes, this.#key.subjectBytes);
    if (!this.#acts.send({ id, kind, metric, shard, active, by, sentMs }, this.#key, once, atMs)) {
      throw unavailable("the queue to the disk is full");
    }
    fault("worker.sent");
    this.#waiting.set(id, waiting);
    this.#ring();
  }

  /** The writer has answered. `again`: the act's counter has left the table and is to be loaded, or its subject is held. */
  takeReplies(again: (waiting: Waiting, isHeld: boolean) => void): void {
    this.#acts.replies((id, status, count, stamp) => {
      const waiting = this.#waiting.get(id);
      if (!waiting) return;
      fault("worker.told");
      this.#waiting.delete(id);
      if (waiting.isGivenUp) return;
      if (status === NOT_LOADED || status === HELD) again(waiting, status === HELD);
      else settle(waiting, status, count, stamp);
    });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /**
   * The writer refuses what has waited too long. Where it does not even come to that (the disk hangs) callers are told
   * after a second more; but not those of keyed tallies, for whom 503 means "not counted": they wait for the writer's word.
   */
  #expire(): void {
    const givenUpMs = Date.now() - ACT_WAIT_MS_MAX - GRACE_MS;
    for (const waiting of this.#waiting.values()) {
      if (waiting.sentMs > givenUpMs) break; // in the order they were sent, but for those sent again
      if (waiting.kind === ADD_ONCE || waiting.isGivenUp) continue;
      waiting.isGivenUp = true;
      waiting.reject(unavailable("the disk hangs; the act may or may not take effect, trying again is safe"));
    }
  }
}

function settle({ kind, resolve, reject }: Waiting, status: ReplyStatus, count: number, stamp: Stamp): void {
  if (status === KEY_REUSED) {
    reject(keyReused());
  } else if (status === REFUSED) {
    reject(unavailable("the act could not be made durable; it was not done"));
  } else if (status === TOO_MUCH) {
    reject(countTooHigh());
  } else if (kind === ADD_ONCE) {
    (resolve as (count: number) => void)(count);
  } else if (kind === VISIT || kind === VISITORS) {
    (resolve as (reply: { count: number; stamp: number }) => void)({ count, stamp });
  } else {
    const at = stamp === 0 ? null : msOf(stamp);
    const state: RelationState & { changed: boolean } = {
      active: isActive(stamp),
      changed: status === CHANGED,
      count,
      at,
    };
    (resolve as (result: RelationState & { changed: boolean }) => void)(state);
  }
}
