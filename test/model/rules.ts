import {
  advance,
  catchUp,
  contribution,
  type Hint,
  install,
  type LedgerCommit,
  type LedgerVersion,
  putRelation,
  putTally,
  type RelationEntry,
  type Shard,
  settled,
  type TallyEntry,
} from "../../src/arithmetic/shard.ts";
import { nextStamp, type Stamp } from "../../src/arithmetic/stamp.ts";

/** The rules of the arithmetic as the model follows them: the real functions, and what nodes do with them. */
export interface Rules {
  advance: typeof advance;
  catchUp: typeof catchUp;
  install: typeof install;
  putRelation: typeof putRelation;
  putTally: typeof putTally;
  settled: typeof settled;
  nextStamp: typeof nextStamp;
  /** A node that sees a new epoch sends again what the ledger does not have. */
  replay: boolean;
  /** A source's numbers enter the log in their order. */
  queue: boolean;
}

export const RULES: Rules = {
  advance,
  catchUp,
  install,
  putRelation,
  putTally,
  settled,
  nextStamp,
  replay: true,
  queue: true,
};

type Registers = ReadonlyMap<string, Stamp>;

/** One rule taken away, by name: the model must see each of them missed. */
export const WITHOUT = {
  /** A relation rests on whatever the ledger had when somebody looked. */
  version: {
    putRelation: (shard, register, event, hint: Hint | null) =>
      putRelation(shard, register, event, hint && { stamp: hint.stamp, version: shard.version }),
  },
  /** A count is installed whatever version it was read at. */
  install: { install: (shard, count, value) => install(shard, count, value, shard.version) },
  /** New bases are applied whatever version the shard is at. */
  advance: {
    advance: (shard, commit: LedgerCommit, registers: Registers) => {
      shard.version = commit.version - 1;
      return advance(shard, commit, registers);
    },
  },
  /** Overlay entries keep resting on the bit they first found. */
  rebase: {
    advance: (shard, commit: LedgerCommit, registers: Registers) =>
      keeping(shard, () => advance(shard, commit, registers), { under: true }),
    catchUp: (shard, ledger: LedgerVersion, registers: Registers) =>
      keeping(shard, () => catchUp(shard, ledger, registers), { under: true }),
  },
  /** The numbers do not tell what the ledger has decided about relations. */
  decided: {
    advance: (shard, commit: LedgerCommit, registers: Registers) =>
      keeping(shard, () => advance(shard, commit, registers), { undecidedBy: registers }),
    catchUp: (shard, ledger: LedgerVersion, registers: Registers) =>
      keeping(shard, () => catchUp(shard, ledger, registers), { undecidedBy: registers }),
    putRelation: (shard, register, event, hint: Hint | null) =>
      forgetting(shard, event.source, () => putRelation(shard, register, event, hint)),
  },
  /** The numbers do not tell which tallies the base has. */
  vector: {
    putTally: (shard, batch: TallyEntry) => forgetting(shard, batch.source, () => putTally(shard, batch)),
  },
  /** A look counts although records may be missing from the overlay. */
  wait: { settled: () => true },
  replay: { replay: false },
  queue: { queue: false },
  /** An act is stamped by the clock alone, whatever register it saw. */
  stamp: { nextStamp: (clockTime: number, _seen: Stamp, active: boolean) => nextStamp(clockTime, 0, active) },
} as const satisfies Record<string, Partial<Rules>>;

export type RuleName = keyof typeof WITHOUT;

function forgetting<T>(shard: Shard, source: string, step: () => T): T {
  const last = shard.last;
  shard.last = new Map(last);
  shard.last.delete(source);
  const result = step();
  shard.last = last;
  return result;
}

function keeping(shard: Shard, step: () => boolean, keep: { under?: boolean; undecidedBy?: Registers }): boolean {
  const before = new Map<string, RelationEntry>();
  for (const [register, entry] of shard.relations) before.set(register, { ...entry });
  const result = step();
  if (!result) return result;
  for (const [register, was] of before) {
    const entry = shard.relations.get(register);
    const stored = keep.undecidedBy?.get(register) ?? was.under;
    if (entry !== undefined && keep.under) entry.under = was.under;
    else if (entry === undefined && keep.undecidedBy && stored < was.stamp)
      shard.relations.set(register, { ...was, under: stored });
  }
  sumAgain(shard);
  return result;
}

function sumAgain(shard: Shard): void {
  shard.sums.clear();
  const add = (count: string, by: number) => shard.sums.set(count, (shard.sums.get(count) ?? 0) + by);
  for (const entry of shard.relations.values()) add(entry.count, contribution(entry));
  for (const entry of shard.tallies.values()) add(entry.count, entry.amount);
}
