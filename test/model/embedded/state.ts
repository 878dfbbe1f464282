import type { Stamp } from "../../../src/arithmetic/stamp.ts";
import type { Random } from "../../support/random.ts";
import type { Rules } from "./rules.ts";

/** Everything between two `yield`s is one step that no other thread and no kill can divide. */
export type Steps<T = void> = Generator<undefined, T, undefined>;

/** The words of a slot are small here, so that they come round; the real ones are 2^32 and half of that. */
export const WORD = 32;
/** The most one add adds. */
export const BY_MAX = 3;
/** Threads that add at the same time. */
export const ADDERS = 3;
/** `mark` follows `noted` at this distance. */
export const FOLD_AT = WORD / 4;
/** Above this, adds wait for the flusher. */
export const OWED_MAX = WORD - FOLD_AT - ADDERS * BY_MAX - 1;
export const SLOTS = 4;
export const GENERATIONS = 3;
export const GENERATION_RECORDS = 2;

export const mod = (value: number) => ((value % WORD) + WORD) % WORD;

// ---- what survives SIGKILL

export interface Note {
  slot: number;
  counter: string;
  notedAfter: number;
  amount: number;
}

export type LogRecord = { source: string; n: number; position: number } & (
  | ({ kind: "note" } & Note)
  | { kind: "keyed"; counter: string; amount: number; key: string }
  | { kind: "relation"; counter: string; register: string; stamp: Stamp; key: string | null }
);

/** Never changed in place: who holds one has a snapshot. */
export interface Ledger {
  readonly position: number;
  readonly counts: ReadonlyMap<string, number>;
  readonly registers: ReadonlyMap<string, Stamp>;
  readonly keys: ReadonlySet<string>;
  readonly last: ReadonlyMap<string, number>;
}

export interface MappedSlot {
  counter: string;
  adds: number;
  noted: number;
}

export interface Table {
  source: string;
  slots: MappedSlot[];
}

export interface Disk {
  /** All that was ever appended; a record's position is its index + 1. */
  log: LogRecord[];
  /** Records up to this position are no longer in the log. */
  trimmed: number;
  ledger: Ledger;
  table: Table;
  runs: number;
}

// ---- what a process has

export type SlotState = "free" | "live" | "leaving" | "dead";

export interface Slot {
  at: number;
  mapped: MappedSlot;
  state: SlotState;
  loaded: "no" | "loading" | "yes";
  loader: string;
  /** What the ledger said, and what the writer published since. */
  base: number;
  /** Written by the flusher only, `sequence` odd meanwhile: `folded` counts the adds up to `mark`. */
  mark: number;
  folded: number;
  sequence: number;
}

export interface Generation {
  /** Odd while it is being cleared. */
  number: number;
  index: Map<string, number[]>;
  cells: { counter: string; register: string; stamp: Stamp }[];
  used: number;
  /** Position of its last record. */
  last: number;
}

export interface Memory {
  slots: Slot[];
  index: Map<string, Slot>;
  free: Slot[];
  dirty: Set<Slot>;
  flushing: number;
  /** By thread: odd while it is inside an operation. */
  inside: Map<string, number>;
  generations: Generation[];
  current: number;
  /** What the log held at the start and the ledger did not. */
  tail: { position: number; counter: string; delta: number }[];
  keys: Set<string>;
  bloom: Set<string>;
  bloomComplete: boolean;
  /** What the projector has read, before it commits. */
  reading: number;
  notes: { source: string; n: number };
  /** Notes up to this position have moved `noted`. */
  safeToTrim: number;
  writer: { source: string; n: number };
  acts: Act[];
}

export type Outcome = { count: number; active?: boolean; changed?: boolean } | "unavailable";

export interface Act {
  kind: "relate" | "addOnce";
  counter: string;
  register: string;
  active: boolean;
  amount: number;
  key: string | null;
  outcome: Outcome | null;
  /** The log's length that made it durable, 0 where it needed no record. */
  position: number;
}

/** What the parts of the model share. `truth` is outside of the server: what really happened. */
export interface Context {
  readonly random: Random;
  readonly rules: Rules;
  readonly disk: Disk;
  memory: Memory;
  readonly truth: Truth;
  nowMs(): number;
  problem(text: string): void;
}

/** From this position of the log on, this value. */
export interface Change {
  position: number;
  value: number;
}

export interface Truth {
  /** Amounts added to the table and to the log under keys, by counter. */
  added: Map<string, number>;
  /** The registers the log adds up to. */
  registers: Map<string, Stamp>;
  /** By register: where in the log which stamp begins. */
  stamps: Map<string, Change[]>;
  /** By counter of a relation: where in the log which count begins. */
  counts: Map<string, Change[]>;
  keys: Set<string>;
  /** What is answered with a 200, or was seen, lies at or before this position. */
  acknowledged: number;
}

export function bump<K>(map: Map<K, number>, key: K, by: number): void {
  map.set(key, (map.get(key) ?? 0) + by);
}

/** Inside of an operation: `*quiet` waits until each thread has been outside once. */
export function* enter(memory: Memory, thread: string): Steps {
  bump(memory.inside, thread, 1);
  yield;
}

export function leave(memory: Memory, thread: string): void {
  bump(memory.inside, thread, 1);
}
