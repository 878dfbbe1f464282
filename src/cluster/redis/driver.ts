import { inTime } from "../../lib/deadline.ts";
import { HotStoreAway, HotStoreRefuses } from "../../ports/hot-store.ts";
import type { Script } from "./scripts.ts";

/** One script on the keys of one hash tag. The driver puts the server's identity before `args`. */
export interface ScriptCall {
  script: Script;
  /** KEYS[1]: the name that all keys of the call begin with. */
  key: string;
  args: readonly string[];
}

export type Reply = string | number | null | Reply[];

/** Where a driver stands: `reason` says why it is away. */
export interface DriverState {
  up: boolean;
  reason: string;
}

/**
 * How the hot store talks to a Redis.
 *
 * `run`: the calls in one round trip (for each server), the answers in their order. Rejects with HotStoreAway at once
 * while the server is known to be away, and when it has not answered within ANSWER_MS_MAX or has refused for a reason
 * that passes (loading, out of memory): any of the calls may have taken effect all the same. What is wrong with a
 * script rejects as an ordinary Error.
 *
 * Every connection begins by reading the server's identity (run id and replication id), and every script gets that of
 * the connection it is sent on: a server that has restarted or failed over is another one, and says `foreign`.
 */
export interface Driver {
  run(calls: readonly ScriptCall[]): Promise<Reply[]>;
  /** Reads the identities again: after `foreign`, since a replication id may change under a connection. */
  refresh(): Promise<void>;
  /** At the start: rejects with StartError if the server is not fit for us, with HotStoreAway if it cannot be asked. */
  checkServer(): Promise<void>;
  readonly state: DriverState;
  /** Called at each change of `state.up`, never more often. */
  onState(listener: (state: DriverState) => void): void;
  close(): Promise<void>;
}

/** A server that has not answered within this is away. */
export const ANSWER_MS_MAX = 1_000;
/**
 * How often a connection looks whether the server is still the same one. A silent one is known to be away to each thread
 * half a second after the first at most: so much longer an answer may take when /readyz says it already.
 */
export const LOOK_EVERY_MS = 500;
/** The identity of a server that does not tell: then only versions that go back show that data was lost. */
export const NAMELESS = "?";
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 2_000;

/** How long to wait before attempt 1, 2, 3 …: twice as long each time, with a spread, so that nodes come apart. */
export function backoffMs(attempt: number): number {
  const full = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempt - 1, 10));
  return full * (0.75 + Math.random() / 4);
}

/** What a server refuses for reasons that pass, or that an operator has to mend; it cannot be asked meanwhile. */
const PASSES = new RegExp(
  [
    "LOADING|OOM|MISCONF|BUSY|UNKILLABLE|max number of clients", // the server itself
    "READONLY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|MOVED|ASK", // its part among others
    "NOAUTH|NOPERM|WRONGPASS",
  ]
    .map((words) => `\\b(?:${words})\\b`)
    .join("|"),
);
/** The server, as far as this connection goes, is not the one that may write: look again who is. */
const ELSEWHERE = /\b(?:READONLY|MASTERDOWN|LOADING|NOAUTH)\b/;

export function isNoScript(message: string): boolean {
  return message.includes("NOSCRIPT");
}

export function isElsewhere(message: string): boolean {
  return ELSEWHERE.test(message);
}

/** An error reply as `run` rejects with it. */
export function replyError(script: Script, message: string): Error {
  if (!PASSES.test(message)) return new Error(`Redis, script ${script.name}: ${message}`);
  // Where another server may be asked the next moment there is nothing to remember.
  const Refusal = isElsewhere(message) ? HotStoreAway : HotStoreRefuses;
  return new Refusal(`Redis refuses: ${message}`);
}

/** Keeps `state` and tells of its changes. */
export class StateKeeper {
  #state: DriverState = { up: false, reason: "connecting to Redis" };
  readonly #listeners: ((state: DriverState) => void)[] = [];

  get state(): DriverState {
    return this.#state;
  }

  onState(listener: (state: DriverState) => void): void {
    this.#listeners.push(listener);
  }

  up(): void {
    this.#set({ up: true, reason: "" });
  }

  /** A new reason while away is kept but not told. */
  away(reason: string): void {
    this.#set({ up: false, reason });
  }

  #set(state: DriverState): void {
    const changed = state.up !== this.#state.up;
    this.#state = state;
    if (changed) for (const listener of this.#listeners) listener(state);
  }
}

/** `promise`, or HotStoreAway after ANSWER_MS_MAX. */
export function within<T>(promise: Promise<T>, what: string): Promise<T> {
  return inTime(promise, ANSWER_MS_MAX, () => new HotStoreAway(`${what} took more than ${ANSWER_MS_MAX} ms`));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
