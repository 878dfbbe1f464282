import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { StartError } from "../errors.ts";
import { SUBJECT_BYTES_MAX, subjectProblem } from "../model.ts";
import { bootId } from "./boot-id.ts";
import {
  ADDS,
  continuations,
  decodeHeader,
  fileBytes,
  HEADER_BYTES,
  INLINE_WORDS,
  KEY,
  LINK,
  LINK_SHIFT,
  LIVE,
  LONG_WORDS,
  LOW,
  lengthOf,
  metricOf,
  NOTED,
  REST_WORDS,
  SLOT_BYTES,
  SLOT_WORDS,
  TALLY_BYTES,
  TALLY_WORDS,
  type TableState,
  talliesAt,
} from "./layout.ts";

/** The file cannot be believed, and nothing was changed: the server does not start. */
function notBelieved(path: string, wrong: string): StartError {
  return new StartError(
    `the counter file ${path} ${wrong}. Put the right file back, or move this one away to start without it: ` +
      "what was counted in the last moments before the stop and had not reached the log is then lost",
  );
}

/** What a counter was increased by and the log does not have. */
export interface OwedAmount {
  slot: number;
  metric: number;
  subject: string;
  amount: number;
  /** What the note about it says, and the mark of this slot from then on. */
  notedAfter: number;
}

interface RecoveredTable {
  header: TableState;
  /** False after a power cut: pages of a mapped file reach the disk in any order, so only the log counts. */
  trusted: boolean;
  owed: OwedAmount[];
}

/** Four megabytes at once. */
const READ_SLOTS = 2 ** 16;

/** Which run wrote the file and how far it got; throws StartError like recoverTable(). */
export function readTableHeader(path: string): TableState {
  const { fd, header } = openTable(path);
  closeSync(fd);
  return header;
}

/**
 * Reads what an earlier run left. `lastMarks` is, for each slot, ADDS as the last note of that run in the log says it: a
 * run killed between the log's commit and NOTED left a mark there that its file does not have.
 */
export function recoverTable(
  path: string,
  lastMarks: ReadonlyMap<number, number>,
  boot: string = bootId(),
): RecoveredTable {
  const { fd, header } = openTable(path);
  try {
    const trusted = header.clean || header.bootId === boot;
    const owed = header.clean || !trusted ? [] : new Scan(path, fd, header).owed(lastMarks);
    return { header, trusted, owed };
  } finally {
    closeSync(fd);
  }
}

function openTable(path: string): { fd: number; header: TableState } {
  const fd = openSync(path, "r");
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw notBelieved(path, "is not a file");
    const page = Buffer.alloc(HEADER_BYTES);
    const header = decodeHeader(page.subarray(0, readSync(fd, page, 0, HEADER_BYTES, 0)));
    if (typeof header === "string") throw notBelieved(path, header);
    const bytes = fileBytes(header.slots);
    if (stat.size < bytes) throw notBelieved(path, `is truncated: ${stat.size} bytes of ${bytes}`);
    if (stat.size > bytes) throw notBelieved(path, `is too long: ${stat.size} bytes, not ${bytes}`);
    return { fd, header };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

class Scan {
  private readonly path: string;
  private readonly fd: number;
  private readonly allocated: number;
  private readonly talliesAt: number;

  constructor(path: string, fd: number, { allocated, slots }: TableState) {
    this.path = path;
    this.fd = fd;
    this.allocated = allocated;
    this.talliesAt = talliesAt(slots);
  }

  /**
   * Whether a slot is LOADED or leaving does not matter: adds count from one mark to the next, not from a base.
   * What is not LIVE was never handed out whole, is free, or is the tail of a key.
   */
  owed(lastMarks: ReadonlyMap<number, number>): OwedAmount[] {
    const owed: OwedAmount[] = [];
    const words = new Int32Array(READ_SLOTS * SLOT_WORDS);
    const tallies = new Int32Array(READ_SLOTS * TALLY_WORDS);
    for (let first = 0; first < this.allocated; first += READ_SLOTS) {
      const n = Math.min(READ_SLOTS, this.allocated - first);
      this.readSlots(words, first, n);
      this.read(tallies, n * TALLY_BYTES, this.talliesAt + first * TALLY_BYTES);
      for (let i = 0, at = 0; i < n; i++, at += SLOT_WORDS) {
        const meta = words[at] as number;
        if ((meta & LIVE) === 0) continue;
        if (lengthOf(meta) === 0 || lengthOf(meta) > SUBJECT_BYTES_MAX || metricOf(meta) === 0) {
          throw this.damaged(first + i, "has a key that cannot be");
        }
        const adds = tallies[i * TALLY_WORDS + ADDS] as number;
        const noted = tallies[i * TALLY_WORDS + NOTED] as number;
        if (adds === noted) continue;
        const slot = first + i;
        // The later of the two marks. Distances, not sizes: both go round at 2^32.
        const mark = (lastMarks.get(slot) ?? noted) | 0;
        const from = ((mark - noted) | 0) > 0 ? mark : noted;
        const amount = (adds - from) | 0;
        if (((adds - noted) | 0) < 0) throw this.damaged(slot, "has noted more than was added");
        if (amount <= 0) continue;
        owed.push({
          slot,
          metric: metricOf(meta),
          subject: this.subject(slot, words.subarray(at, at + SLOT_WORDS)),
          amount,
          notedAfter: adds >>> 0,
        });
      }
    }
    return owed;
  }

  private subject(slot: number, words: Int32Array): string {
    const length = lengthOf(words[0] as number);
    const count = (length + 3) >> 2;
    const key = new Int32Array(count);
    let from = count > INLINE_WORDS ? LONG_WORDS : count;
    key.set(words.subarray(KEY, KEY + from));
    const rest = new Int32Array(SLOT_WORDS);
    let link = words[LINK] as number;
    for (let left = continuations(count); left > 0; left--) {
      if (link < 0 || link >= this.allocated) throw this.damaged(slot, "has a key that goes on outside the file");
      this.readSlots(rest, link, 1);
      const n = Math.min(REST_WORDS, count - from);
      key.set(rest.subarray(LOW, LOW + n), from);
      from += n;
      link = (rest[0] as number) >>> LINK_SHIFT;
    }
    const bytes = Buffer.from(key.buffer, 0, length);
    const subject = bytes.toString("utf8");
    if (subjectProblem(subject) !== null || !Buffer.from(subject).equals(bytes)) {
      throw this.damaged(slot, "has a key that is no subject");
    }
    return subject;
  }

  private readSlots(into: Int32Array, slot: number, count: number): void {
    this.read(into, count * SLOT_BYTES, HEADER_BYTES + slot * SLOT_BYTES);
  }

  private read(into: Int32Array, bytes: number, at: number): void {
    for (let done = 0; done < bytes; ) {
      const n = readSync(this.fd, into, done, bytes - done, at + done);
      if (n === 0) throw notBelieved(this.path, "became shorter while it was read");
      done += n;
    }
  }

  private damaged(slot: number, wrong: string): StartError {
    return notBelieved(this.path, `is damaged: slot ${slot} ${wrong}`);
  }
}
