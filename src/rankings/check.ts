import { HOUR_S, hourOf } from "../arithmetic/windows.ts";
import { murmur3 } from "../lib/hash.ts";
import { encodeUtf8 } from "../lib/utf8.ts";
import { SUBJECT_BYTES_MAX } from "../model.ts";
import type { Renamed, StepFrame, StoredFrame } from "../ports/steps.ts";
import { ChangeWriter, FRAME_BYTES, readBatch, readChanges, type VisitChange } from "./changes.ts";
import { Gathered } from "./gathered.ts";
import { Renames } from "./renames.ts";

type Awaitable<T> = T | Promise<T>;

export interface HistoryRow {
  metric: number;
  subject: string;
  /** The first second of its hour; 0: before all hours that are kept. */
  at: number;
  amount: number;
}

/** What a ledger keeps for its rankings, and its history, all of one snapshot: each is read twice. */
export interface KeptSteps {
  renamed(): Awaitable<Renamed[]>;
  /** Changes that are in no step yet, in the order in which they happened. */
  changes(visit: (frame: StoredFrame) => void): Awaitable<void>;
  /** Of the steps from `from` on (seconds since 1970). */
  steps(from: number, visit: (frame: StoredFrame) => void): Awaitable<void>;
  /** Of the hours from `from` on, each count's behind what stands before all hours. */
  history(from: number, visit: (row: HistoryRow) => void): Awaitable<void>;
}

/** What the steps of an hour have of a count, and what its history says. */
export interface StepDifference {
  metric: number;
  subject: string;
  /** The first second of the hour. */
  at: number;
  expected: number;
  found: number;
}

/** A row of the ledger that is not what a ranker can read: it cannot begin. */
export interface BrokenFrame {
  table: "steps" | "changes";
  id: number;
}

export interface CheckedSteps {
  broken: BrokenFrame[];
  /** Without what the broken ones may hold. */
  differences: StepDifference[];
}

/** So many are named at once: of an hour that has lost its steps there may be millions. */
export const STEP_DIFFERENCES_MAX = 100_000;
/** Counts that are looked at one by one in one go; some 200 MB. */
const NAMES_MAX = 1_000_000;
/** The longest window, less the hour that is about to leave it. */
const HOURS_S = (30 * 24 - 1) * HOUR_S;
const SEEDS = [0x51ed270b, 0x2545f491] as const;

/**
 * Compares the steps with the history. The projector writes both with each change, so what the steps have of an hour must be what
 * the history has of it, for every count. Looked at are the hours that rankings look back on; of those before a count's first
 * one the history may have gone into the row before all hours, and nothing says what they must be.
 *
 * The steps are stored by time, the history in MySQL by subject, and neither fits into memory. So each metric and hour is first
 * only added up over all subjects, each amount multiplied with two hashes of its subject: where that is equal nothing differs
 * (but by an accident of 1 in 2^64), and only of the other hours counts are looked at one by one, and only as many at once as
 * fit. Nothing differs mostly, and both are read once.
 */
export async function checkSteps(kept: KeptSteps, nowMs: number, namesMax = NAMES_MAX): Promise<CheckedSteps> {
  const from = hourOf(Math.floor(nowMs / 1000) - HOURS_S);
  const sums = new HourSums();
  const broken = await readBoth(kept, from, (isStep, name, bytes, start, end, amount) => {
    if (name % 2 ** 32 > 0) sums.add(name, bytes, start, end, isStep ? amount : -amount);
  });
  const hours = sums.differing();
  const all: StepDifference[] = [];
  for (let part = 0, parts = hours.size === 0 ? 0 : 1; part < parts && all.length < STEP_DIFFERENCES_MAX; ) {
    const found = await lookAt(kept, from, { hours, part, parts, namesMax });
    if (found === null) {
      part *= 4;
      parts *= 4;
      continue;
    }
    part++;
    for (const one of found) all.push(one);
  }
  return { broken, differences: all.slice(0, STEP_DIFFERENCES_MAX) };
}

/** Each in words; `countOf` names a count. */
export function* inWords(
  { broken, differences }: CheckedSteps,
  countOf: (name: { metric: number; subject: string }) => string,
): Generator<string> {
  for (const { table, id } of broken) yield `rankings: row ${id} of the table ${table} cannot be read`;
  for (const { metric, subject, at, found, expected } of differences) {
    const of = `${countOf({ metric, subject })} in the hour from ${new Date(at * 1000).toISOString()}`;
    yield `rankings: ${of}: ${found}, its history says ${expected}`;
  }
}

/** Frames that make the steps what the history says, each of one hour. */
export function correctionsOf(differences: readonly StepDifference[]): StepFrame[] {
  return Array.from(Map.groupBy(differences, ({ at }) => at)).flatMap(([at, ofHour]) => {
    const writer = new ChangeWriter();
    for (const { metric, subject, expected, found } of ofHour) writer.add(metric, at, subject, expected - found);
    return writer.finish(FRAME_BYTES).map((frame) => ({ at, frame }));
  });
}

/** A metric in an hour, as a number. */
type Name = number;
type Visit = (isStep: boolean, name: Name, bytes: Buffer, start: number, end: number, amount: number) => void;

async function readBoth(kept: KeptSteps, from: number, visit: Visit): Promise<BrokenFrame[]> {
  const broken: BrokenFrame[] = [];
  const whole = (table: BrokenFrame["table"], read: (frame: StoredFrame) => void) => (frame: StoredFrame) => {
    if (isWhole(frame.frame)) read(frame);
    else broken.push({ table, id: frame.id });
  };
  const visitStep: VisitChange = ({ metric, at }, bytes, start, end, amount) => {
    if (at >= from) visit(true, nameOf(metric, at), bytes, start, end, amount);
  };
  const renames = new Renames();
  for (const renamed of await kept.renamed()) renames.add(renamed);
  const pending = new Gathered();
  await kept.changes(whole("changes", ({ frame }) => gather(frame, pending, renames)));
  for (const { frame } of pending.frames(FRAME_BYTES)) readChanges(frame, visitStep);
  await kept.steps(
    from,
    whole("steps", (frame) => renames.read(frame, visitStep)),
  );
  const bytes = Buffer.alloc(3 * SUBJECT_BYTES_MAX); // what TextEncoder asks for
  await kept.history(from, ({ metric, subject, at, amount }) => {
    visit(false, nameOf(metric, at), bytes, 0, encodeUtf8(subject, bytes, 0), amount);
  });
  return broken;
}

/** Before any of it is taken in. */
function isWhole(frame: Buffer): boolean {
  try {
    readChanges(frame, () => undefined);
    return true;
  } catch {
    return false;
  }
}

/** What is renamed here is so in all steps, as these are older. */
function gather(frame: Buffer, pending: Gathered, renames: Renames): void {
  readBatch(
    frame,
    ({ metric, at }, bytes, start, end, amount) => pending.add(metric, hourOf(at), bytes, start, end, amount),
    (subject, other) => {
      pending.become(subject, other);
      renames.add({ subject: subject.toString(), becomes: other.toString(), upTo: Number.POSITIVE_INFINITY });
    },
  );
}

interface Part {
  hours: ReadonlySet<Name>;
  part: number;
  parts: number;
  namesMax: number;
}

/** The counts of some hours whose subjects fall into one of so many parts; null: too many for one go. */
async function lookAt(
  kept: KeptSteps,
  from: number,
  { hours, part, parts, namesMax }: Part,
): Promise<StepDifference[] | null> {
  const found = new Map<string, StepDifference>();
  /** By count that is in steps: whether older hours have been folded, and the first hour that has not. */
  const histories = new Map<string, { isFolded: boolean; from: number }>();
  let isTooMuch = false;
  await readBoth(kept, from, (isStep, name, bytes, start, end, amount) => {
    if (isTooMuch) return;
    const hash = murmur3(bytes, start, end, SEEDS[0]) >>> 0;
    if (Math.floor((hash / 2 ** 32) * parts) !== part) return;
    const subject = bytes.utf8Slice(start, end);
    const [metric, at] = [Math.floor(name / 2 ** 32), name % 2 ** 32];
    const history = histories.get(`${metric} ${subject}`);
    if (!isStep && history) {
      if (at === 0) history.isFolded = true;
      else history.from = Math.min(history.from, at);
    }
    if (!hours.has(name)) return;
    if (isStep && !history) histories.set(`${metric} ${subject}`, { isFolded: false, from: Number.POSITIVE_INFINITY });
    const key = `${name} ${subject}`;
    let one = found.get(key);
    if (!one) {
      isTooMuch = found.size === namesMax;
      one = { metric, subject, at, expected: 0, found: 0 };
      found.set(key, one);
    }
    one[isStep ? "found" : "expected"] += amount;
  });
  if (isTooMuch) return null;
  return Array.from(found.values()).filter(({ metric, subject, at, expected, found }) => {
    const history = histories.get(`${metric} ${subject}`);
    return found !== expected && !(history?.isFolded && at < history.from);
  });
}

function nameOf(metric: number, at: number): Name {
  return metric * 2 ** 32 + hourOf(at);
}

/** By metric and hour: what is added, and the same multiplied with the subjects' hashes, modulo 2^32. */
class HourSums {
  readonly #sums = new Map<Name, { amount: number; hashed: [number, number] }>();

  add(name: Name, bytes: Buffer, start: number, end: number, amount: number): void {
    let sum = this.#sums.get(name);
    if (!sum) {
      sum = { amount: 0, hashed: [0, 0] };
      this.#sums.set(name, sum);
    }
    sum.amount += amount;
    for (const i of [0, 1] as const) {
      sum.hashed[i] = (sum.hashed[i] + Math.imul(amount, murmur3(bytes, start, end, SEEDS[i]))) | 0;
    }
  }

  differing(): Set<Name> {
    const differing = new Set<Name>();
    for (const [name, { amount, hashed }] of this.#sums) {
      if (amount !== 0 || hashed[0] !== 0 || hashed[1] !== 0) differing.add(name);
    }
    return differing;
  }
}
