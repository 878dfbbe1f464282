import { SHARDS } from "../arithmetic/shard.ts";
import { decide } from "../arithmetic/source.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import { minuteAt } from "../arithmetic/windows.ts";
import type {
  Batch,
  LedgerWriter,
  Loss,
  PlacedJob,
  RegisterChange,
  SourceState,
  StoredKey,
  TallyChange,
} from "../ports/ledger.ts";
import type { Position } from "../ports/log.ts";
import type { Frame, JobRecord, LogRecord, RecordOnce, SetRecord, TallyRecord } from "../records.ts";
import { FoldedVisits } from "./visits.ts";

/** What a batch is decided against: the ledger before it. */
export interface Decided extends Pick<LedgerWriter, "last"> {
  /** Whether what a gap lacks may still come: the record waits, and what is behind it of its source and shard. */
  mayCome?(gap: Loss): boolean;
  /**
   * Whether an act with this key was counted before, be it earlier in the batch; asked once for each act applied.
   * Absent: no key comes twice, since the one writer of the log knows them (once-keys.ts).
   */
  isRepeat?(once: RecordOnce): boolean;
}

interface SourceNumbers {
  /** Last n by shard; -1: not asked for yet. */
  last: Float64Array;
  touched: Uint8Array;
}

/**
 * Folds frames, in log order, into what one transaction stores. Each record is decided by its number alone. A gap
 * that cannot be filled (no copy is left) is recorded as a loss, and the log goes on.
 *
 * Folding is allowed because a register keeps its highest stamp whatever the order, and amounts add up; only sets and jobs
 * depend on the order: each set remembers what was added before it, and a job ends the batch.
 */
export class BatchBuilder {
  #decided: Decided;
  #sources = new Map<string, SourceNumbers>();
  #stampMax = new Float64Array(SHARDS).fill(-1);
  #registers: RegisterChange[] = [];
  #tallies = new Map<number, Map<string, TallyChange>>();
  #visits = new FoldedVisits();
  #keys = new Map<string, StoredKey>();
  #losses: Loss[] = [];
  #jobs: PlacedJob[] = [];
  #position: Position = 0;
  /** Records read, decided before or not. */
  records = 0;
  /** Records that were next, whatever they changed. */
  decided = 0;

  constructor(decided: Decided) {
    this.#decided = decided;
  }

  /** Whether it holds a job: then it must end, as what follows comes after the job, and all else in it before. */
  get mustEnd(): boolean {
    return this.#jobs.length > 0;
  }

  /** `next`: the position behind the frame. */
  add(frame: Frame, next: Position): void {
    this.#position = next;
    const numbers = this.#numbersOf(frame.source);
    for (const record of frame.records) {
      this.records++;
      if (!this.#isNext(frame.source, numbers, record)) continue;
      if (record.once && !this.#isFirst(record.kind, record.once)) continue;
      switch (record.kind) {
        case "relation":
          this.#registers.push(record);
          if (record.stamp > (this.#stampMax[record.shard] as number)) this.#stampMax[record.shard] = record.stamp;
          break;
        case "tally":
          this.#tally(record);
          break;
        case "set":
          this.#set(record);
          break;
        case "visitor":
          this.#visits.add(record);
          break;
        case "void":
          break;
        case "erase":
        case "merge":
          this.#job(record, frame.source);
      }
    }
  }

  /** The last number decided, with what was added. */
  last(source: string, shard: number): number {
    const last = this.#sources.get(source)?.last[shard] ?? -1;
    return last < 0 ? this.#decided.last(source, shard) : last;
  }

  finish(nowMs: number): Batch {
    const sources: SourceState[] = [];
    for (const [source, { last, touched }] of this.#sources) {
      for (let shard = 0; shard < SHARDS; shard++) {
        if (touched[shard]) sources.push({ source, shard, last: last[shard] as number });
      }
    }
    const shards: [number, Stamp][] = [];
    for (let shard = 0; shard < SHARDS; shard++) {
      const stampMax = this.#stampMax[shard] as number;
      if (stampMax >= 0) shards.push([shard, stampMax]);
    }
    const tallies = [...this.#tallies.values()].flatMap((bySubject) => [...bySubject.values()]);
    return {
      position: this.#position,
      nowMs,
      records: this.records,
      registers: highestOfEach(this.#registers),
      tallies: sortByText(tallies, BY_SUBJECT),
      visits: this.#visits.changes(),
      keys: [...this.#keys.values()],
      sources,
      shards,
      losses: this.#losses,
      jobs: this.#jobs,
    };
  }

  #numbersOf(source: string): SourceNumbers {
    let numbers = this.#sources.get(source);
    if (!numbers) {
      numbers = { last: new Float64Array(SHARDS).fill(-1), touched: new Uint8Array(SHARDS) };
      this.#sources.set(source, numbers);
    }
    return numbers;
  }

  #isNext(source: string, numbers: SourceNumbers, { shard, n }: LogRecord): boolean {
    let last = numbers.last[shard] as number;
    if (last < 0) last = this.#decided.last(source, shard);
    const decision = decide(last, n);
    if (decision === "skip") return false;
    if (decision === "gap") {
      const gap = { source, shard, from: last + 1, to: n - 1 };
      if (this.#decided.mayCome?.(gap)) return false;
      this.#losses.push(gap);
    }
    this.decided++;
    numbers.last[shard] = n;
    numbers.touched[shard] = 1;
    if ((this.#stampMax[shard] as number) < 0) this.#stampMax[shard] = 0;
    return true;
  }

  /** Notes the key. False: it was counted before, so the record is decided and changes nothing. */
  #isFirst(kind: LogRecord["kind"], once: RecordOnce): boolean {
    const isRepeat = this.#decided.isRepeat?.(once) === true;
    if (!isRepeat) this.#keys.set(once.key, once);
    // A register does not change twice whatever comes twice.
    return !isRepeat || kind === "relation";
  }

  #tally(record: TallyRecord): void {
    const change = this.#change(record);
    change.added += record.amount;
    if (record.past) change.past = (change.past ?? 0) + record.amount;
    // By the minute; the history keeps hours.
    const step = minuteAt(record.atMs);
    const known = change.steps.find((it) => it[0] === step);
    if (known) known[1] += record.amount;
    else change.steps.push([step, record.amount]);
  }

  #set(record: SetRecord): void {
    const change = this.#change(record);
    change.sets ??= [];
    change.sets.push({ added: change.added, count: record.count, step: minuteAt(record.atMs) });
    change.added = 0;
  }

  #job(record: JobRecord, source: string): void {
    this.#jobs.push({ ...record, source });
    if (record.kind === "erase" && record.stamp > (this.#stampMax[record.shard] as number)) {
      this.#stampMax[record.shard] = record.stamp;
    }
  }

  #change({ shard, metric, subject }: LogRecord): TallyChange {
    let bySubject = this.#tallies.get(metric);
    if (!bySubject) {
      bySubject = new Map();
      this.#tallies.set(metric, bySubject);
    }
    let change = bySubject.get(subject);
    if (!change) {
      change = { shard, metric, subject, added: 0, sets: null, steps: [] };
      bySubject.set(subject, change);
    }
    return change;
  }
}

/**
 * Sorted by actor, subject, metric; of one register only the highest stamp, with those that it had on the way there: in the
 * log's order each one above all before it, since the others change nothing. The history needs them.
 */
function highestOfEach(changes: RegisterChange[]): RegisterChange[] {
  const sorted = sortByText(changes, BY_ACTOR);
  let kept = 0;
  for (let i = 0; i < sorted.length; ) {
    let highest = sorted[i] as RegisterChange;
    let way: Stamp[] | undefined;
    for (i++; i < sorted.length && isSame(highest, sorted[i] as RegisterChange); i++) {
      const next = sorted[i] as RegisterChange;
      if (next.stamp <= highest.stamp) continue;
      if (way) way.push(highest.stamp);
      else way = [highest.stamp];
      highest = next;
    }
    sorted[kept++] = way ? { ...highest, way } : highest;
  }
  sorted.length = kept;
  return sorted;
}

function isSame(a: RegisterChange, b: RegisterChange): boolean {
  return a.actor === b.actor && a.subject === b.subject && a.metric === b.metric;
}

/** Prefixes are numbers of 32 bits; with a place in the range below them they are still exact in a double. */
const PLACES = 2 ** 20;
/** Fewer than these are sorted where they stand. */
const FEW = 32;

interface Order<T> {
  /** What decides first. */
  text(item: T): string;
  compare(a: T, b: T): number;
}

/**
 * Comparing strings was a fifth of all that a like costs the projector. So the four letters behind what all texts begin
 * with are sorted first, as plain numbers, and only the few that share them are compared: 0.3 µs a row instead of 1.3. Many that
 * share them are sorted by the next four. What is equal stays in its order.
 */
function sortByText<T>(items: T[], order: Order<T>, from = 0): T[] {
  const prefix = commonPrefix(items, order, from);
  if (items.length > PLACES) return items.sort(order.compare);
  const keys = new Float64Array(items.length);
  for (let i = 0; i < keys.length; i++) keys[i] = lettersOf(order.text(items[i] as T), prefix) * PLACES + i;
  keys.sort();
  const sorted = Array.from(keys, (key) => items[key % PLACES] as T);
  for (let first = 0; first < sorted.length; ) {
    const letters = Math.floor((keys[first] as number) / PLACES);
    let end = first + 1;
    while (end < sorted.length && Math.floor((keys[end] as number) / PLACES) === letters) end++;
    if (end - first > FEW) {
      // Letters that tell nobody from the others: all texts are the same, or no Latin.
      if (end - first === sorted.length) return items.sort(order.compare);
      const range = sortByText(sorted.slice(first, end), order, prefix);
      for (let i = first; i < end; i++) sorted[i] = range[i - first] as T;
    } else if (end - first > 1) sortFew(sorted, first, end, order);
    first = end;
  }
  return sorted;
}

/** Insertion sort. */
function sortFew<T>(sorted: T[], first: number, end: number, { compare }: Order<T>): void {
  for (let i = first + 1; i < end; i++) {
    const item = sorted[i] as T;
    let at = i;
    for (; at > first && compare(sorted[at - 1] as T, item) > 0; at--) sorted[at] = sorted[at - 1] as T;
    sorted[at] = item;
  }
}

/** How many letters all begin with; `from` of them are known to be the same. */
function commonPrefix<T>(items: readonly T[], { text }: Order<T>, from: number): number {
  const first = items.length === 0 ? "" : text(items[0] as T);
  let length = first.length;
  for (const item of items) {
    const other = text(item);
    let same = from;
    while (same < length && first.charCodeAt(same) === other.charCodeAt(same)) same++;
    length = same;
  }
  return length;
}

/** The order of four letters; those above Latin-1 count as the last one, which only makes them share a place. */
function lettersOf(text: string, from: number): number {
  let letters = 0;
  for (let i = from; i < from + 4; i++)
    letters = letters * 256 + (i < text.length ? Math.min(text.charCodeAt(i), 255) : 0);
  return letters;
}

const BY_ACTOR: Order<RegisterChange> = { text: ({ actor }) => actor, compare: byRegister };
const BY_SUBJECT: Order<TallyChange> = { text: ({ subject }) => subject, compare: bySubjectAndMetric };

function byRegister(a: RegisterChange, b: RegisterChange): number {
  if (a.actor !== b.actor) return a.actor < b.actor ? -1 : 1;
  if (a.subject !== b.subject) return a.subject < b.subject ? -1 : 1;
  return a.metric - b.metric;
}

function bySubjectAndMetric(a: TallyChange, b: TallyChange): number {
  if (a.subject !== b.subject) return a.subject < b.subject ? -1 : 1;
  return a.metric - b.metric;
}
