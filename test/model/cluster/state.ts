import type { Stamp } from "../../../src/arithmetic/stamp.ts";
import type { Random } from "../../support/random.ts";
import type { Copy } from "./copy.ts";
import type { Rules } from "./rules.ts";

export type Steps<T = void> = Generator<undefined, T, undefined>;

/** A put takes effect within this time, or never. */
const PUT_MAX = 25;
/** A source of which nothing was applied for so long may retire. */
export const RETIRE_AFTER = PUT_MAX + 1;

/** All on one partition of the log. */
export const SHARDS = 2;
/** Tallies of each shard. */
export const TALLIES = ["v", "w"];
export const ACTORS = ["x", "y", "z"];

export type Rec = { source: string; shard: number; n: number } & (
  | { kind: "tally"; from: number; amounts: Map<string, number>; notedAfter: Map<string, number> }
  | { kind: "relation"; actor: string; stamp: Stamp }
  | { kind: "keyed"; key: string; count: string; amount: number }
);
export type TallyRec = Extract<Rec, { kind: "tally" }>;
export type RelationRec = Extract<Rec, { kind: "relation" }>;
export type KeyedRec = Extract<Rec, { kind: "keyed" }>;

/** What enters the outbox together, and Kafka as one message. */
export interface Frame {
  source: string;
  records: Rec[];
}

export interface LedgerShard {
  version: number;
  counts: Map<string, number>;
  registers: Map<string, Stamp>;
  last: Map<string, number>;
  /** Last numbers of sources that were put away; where `last` has one too, that one counts. */
  retired: Map<string, number>;
  keys: Set<string>;
}

export interface Ledger {
  position: number;
  shards: LedgerShard[];
  away: boolean;
  /** By the names of their rows: nodes that have durable acts which Kafka has not. */
  spools: Set<string>;
  /** By the names of their rows: nodes that have answered acts which no copy shows, and could not say so in Redis. */
  unseen: Set<string>;
  /** Statements about them that time out and are done later. */
  late: (() => void)[];
  /** When something of a source was applied last. */
  appliedAt: Map<string, number>;
}

export interface Kafka {
  log: Frame[];
  /** Every frame that was ever in it. */
  ever: Set<Frame>;
  away: boolean;
}

export interface Redis {
  run: number;
  copies: (Copy | null)[];
  /** Actor → register's shard → stamp. */
  hints: Map<string, Map<number, Stamp>>;
  away: boolean;
  /** Requests that time out and take effect later. */
  late: (() => void)[];
  /** Since the last check. */
  isTouched: boolean;
}

export interface Entry {
  frame: Frame;
  /** fsync'd. */
  synced: boolean;
  /** The node takes it for fsync'd. */
  claimed: boolean;
}

/** What outlives a SIGKILL. */
export interface Disk {
  outbox: Entry[];
  /** The counter table: adds and noted, by count. */
  table: Map<string, { adds: number; noted: number }>;
  tableSource: string;
  /** Rows of its spools that may be in the ledger; each is written here before it is there. */
  rows: Set<string>;
  /** The same of acts that no copy shows. */
  unseenRows: Set<string>;
  /** Last numbers by source and shard, written before the outbox is trimmed. */
  numbers: Map<string, number>;
  /** The highest version of each shard that this node has read: in the table's file. */
  versions: number[];
}

/** What a life knows of a frame in its outbox. */
export interface Memo {
  offset: number | null;
  isOld: boolean;
  /** Shards whose put is confirmed. */
  put: Set<number>;
  /** Shards whose put was begun. */
  begun: Set<number>;
  /** An act is putting it itself. */
  isBusy: boolean;
  /** When it was appended; long ago where that was another life. */
  at: number;
}

/** A tally as this life shows it: base + adds - included. */
export interface Shown {
  base: number;
  included: number;
}

export interface Node {
  index: number;
  life: number;
  disk: Disk;
  isListening: boolean;
  /** What it sends does not come to Kafka. */
  isCut: boolean;
  /** It does not come to Redis. */
  isBlind: boolean;
  /** The ledger has been told of this node's spool. */
  isToldOf: boolean;
  /** The row by which it is told, or was tried to be. */
  row: string | null;
  /** The same of acts that no copy shows; null: they are all shown. */
  unseenRow: string | null;
  /** The run of Redis that this node's connection is to. */
  conn: number;
  memo: Map<Frame, Memo>;
  epochs: (number | null)[];
  seenVersion: number[];
  /** Appends, confirmations and resets of notes, by shard. */
  sequence: number[];
  shown: Map<string, Shown>;
  /** Up to where Redis is known to have this life's notes. */
  confirmed: Map<string, number>;
  clock: number;
  last: Map<string, number>;
  /** For the model's rule on trial: an end of the log read some time ago. */
  oldEnd: number;
}

export interface Mix {
  lose?: boolean;
  redisAway?: boolean;
  kafkaAway?: boolean;
  /** Kafka is away from one node alone; answers to what the ledger is told of spools are lost. */
  cuts?: boolean;
  /** Redis is away from one node alone. Clocks agree, so an act that is answered comes before the next in any case. */
  blind?: boolean;
  kafkaLoses?: boolean;
  ledgerAway?: boolean;
  kill?: boolean;
  power?: boolean;
  projectors: number;
  /** Sends and puts whose answer is lost. */
  timeouts?: boolean;
  tallies?: number;
  acts?: number;
  keys?: number;
  /** One fault follows closely upon the other. */
  hasty?: boolean;
  /** Sources retire, the log is read from its begin, killed nodes stay away for long. */
  retires?: boolean;
}

export interface Context {
  readonly random: Random;
  readonly rules: Rules;
  readonly mix: Mix;
  readonly kafka: Kafka;
  readonly redis: Redis;
  readonly ledger: Ledger;
  readonly nodes: Node[];
  readonly past: LedgerShard[][];
  /** Faults only before the end. */
  isResting: boolean;
  epochs: number;
  /** Rows of spools that there ever were. */
  rows: number;
  losses: number;
  /** The time. */
  wall: number;
  problem(text: string): void;
  lostRecord(rec: Rec): void;
  newRecord(rec: Rec): void;
  lostViews(count: string, amount: number): void;
  wallTime(node: Node): number;
  shownAnew(node: Node, count: string): void;
}

const BY_SHARD = Array.from({ length: SHARDS }, (_, shard) => TALLIES.map((name) => `${shard}${name}`));
const LIKES = BY_SHARD.map((_, shard) => `${shard}likes`);
/** Every tally. */
export const COUNTS = BY_SHARD.flat();

export function countsOf(shard: number): string[] {
  return BY_SHARD[shard] ?? [];
}

export function shardOf(count: string): number {
  return Number(count[0]);
}

export function likesOf(shard: number): string {
  return LIKES[shard] ?? "";
}

export function registerOf(rec: RelationRec): string {
  return `${rec.shard}/${rec.actor}`;
}

/** The last number decided, retired or not. */
export function lastIn(state: LedgerShard | undefined, source: string): number {
  return state?.last.get(source) ?? state?.retired.get(source) ?? 0;
}

/** Up to when a put may take effect whose record was not in the ledger at `since`. */
export function putUntil({ mix, rules }: Context, since: number): number {
  return mix.retires && rules.putsEnd ? since + PUT_MAX : Number.POSITIVE_INFINITY;
}

/** As a node asks for what its outbox holds. */
export function isIn(world: Context, ledger: LedgerShard[], rec: Rec): boolean {
  const state = ledger[rec.shard];
  const last = world.rules.outboxAsksRetired ? lastIn(state, rec.source) : (state?.last.get(rec.source) ?? 0);
  return rec.n <= last;
}

export function shardState(ledger: Ledger, shard: number): LedgerShard {
  const state = ledger.shards[shard];
  if (state === undefined) throw new Error("no such shard");
  return state;
}

export function copyLedgerShard(state: LedgerShard): LedgerShard {
  return {
    version: state.version,
    counts: new Map(state.counts),
    registers: new Map(state.registers),
    last: new Map(state.last),
    retired: new Map(state.retired),
    keys: new Set(state.keys),
  };
}

export function bump(map: Map<string, number>, name: string, by: number): void {
  map.set(name, (map.get(name) ?? 0) + by);
}
