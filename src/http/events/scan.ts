import type { Metric } from "../../model.ts";

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BLANK = 0x20;
const QUOTE = 0x22;
const PERCENT = 0x25;
const COMMA = 0x2c;
const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const NINE = 0x39;
const BACKSLASH = 0x5c;
const BRACE = 0x7d;
const DELETE = 0x7f;
const ID_BYTES_MAX = 128;
const BY_MAX = 1_000_000;
/** Prefixes remembered. What falls out is read the slow way once, and remembered again. */
const PLACES = 256;
const PREFIX_BYTES_MAX = 192;
/** `,"by":` in two words, the second one half. */
const BY_LOW = 0x7962222c;
const BY_HIGH = 0x3a22;

/** How a line begins, up to the first slash, and which counters are meant by what follows. */
interface Prefix {
  readonly metric: number;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  /** Where in it the subject begins. */
  readonly subjectAt: number;
}

/**
 * Reads the usual lines of tallies straight from the bytes: no string, no regular expression, no object. It knows how lines
 * begin (metric and type) from those that were read with all checks, and takes nothing but printable ASCII behind that,
 * without escapes, so what it takes means what the full reading of the line says it means. Everything else it leaves.
 */
export abstract class Scanner {
  /** What the last line that was taken says: the subject is `bytes[from, to)`. */
  metric = 0;
  from = 0;
  to = 0;
  by = 1;
  #last: Prefix | null = null;
  readonly #places: (Prefix | null)[] = new Array(PLACES).fill(null);
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);

  /** How a line begins that counts `metric` of a subject of this type. */
  protected abstract prefix(metric: string, type: string): { text: string; subjectAt: number };

  /** What follows on the prefix: where the next line begins, -1 if this one must be read in full. */
  protected abstract rest(idAt: number, end: number): number;

  /** The line at `at`, in bytes that end with a newline: where the next one begins; `at` itself if it must be read in full. */
  next(at: number, end: number): number {
    const idAt = this.#id(at, end);
    const next = idAt < 0 ? -1 : this.rest(idAt, end);
    return next < 0 ? at : next;
  }

  begin(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  protected get bytes(): Uint8Array {
    return this.#bytes;
  }

  protected get view(): DataView {
    return this.#view;
  }

  /** A line of this metric and type was read in full, and nothing but subject and amount matters in such lines. */
  learn(metric: Metric, type: string): void {
    const { text, subjectAt } = this.prefix(metric.name, type);
    const bytes = Buffer.from(text);
    const words = new Int32Array(bytes.length >> 2);
    for (let i = 0; i < words.length; i++) words[i] = bytes.readInt32LE(4 * i);
    let hash = 0;
    for (const byte of bytes) hash = step(hash, byte);
    this.#places[hash & (PLACES - 1)] = { metric: metric.id, bytes, words, subjectAt };
  }

  /** Where the id begins, -1 if the line begins in no way that is known. */
  #id(at: number, end: number): number {
    let prefix = this.#last;
    if (prefix === null || !this.#isAt(prefix, at, end)) {
      prefix = this.#find(at, end);
      if (prefix === null) return -1;
      this.#last = prefix;
    }
    this.metric = prefix.metric;
    this.from = at + prefix.subjectAt;
    return at + prefix.bytes.length;
  }

  /** Whether the id that ends at `to` is one; sets `to`. */
  protected isId(idAt: number, to: number): boolean {
    this.to = to;
    const length = to - idAt;
    if (length < 1 || length > ID_BYTES_MAX) return false;
    return length > 2 || this.#bytes[idAt] !== DOT;
  }

  /** An amount at `at`: where it ends; sets `by`. -1: none that may stand there. */
  protected amount(at: number): number {
    const bytes = this.#bytes;
    let digit = bytes[at] as number;
    if (digit <= ZERO || digit > NINE) return -1;
    let by = 0;
    let i = at;
    for (; digit >= ZERO && digit <= NINE && i < at + 8; digit = bytes[++i] as number) by = by * 10 + digit - ZERO;
    this.by = by;
    return by <= BY_MAX ? i : -1;
  }

  /** Behind the end of the line at `at`, -1 if it does not end there. */
  protected lineEnd(at: number): number {
    const byte = this.#bytes[at];
    if (byte === NEWLINE) return at + 1;
    return byte === RETURN && this.#bytes[at + 1] === NEWLINE ? at + 2 : -1;
  }

  #isAt({ bytes, words }: Prefix, at: number, end: number): boolean {
    const length = bytes.length;
    if (at + length >= end) return false;
    const view = this.#view;
    for (let i = 0; i < words.length; i++) if (view.getInt32(at + 4 * i, true) !== words[i]) return false;
    for (let i = 4 * words.length; i < length; i++) if (this.#bytes[at + i] !== bytes[i]) return false;
    return true;
  }

  #find(at: number, end: number): Prefix | null {
    const bytes = this.#bytes;
    const stop = Math.min(end, at + PREFIX_BYTES_MAX);
    let hash = 0;
    for (let i = at; i < stop; i++) {
      const byte = bytes[i] as number;
      if (byte === NEWLINE) return null;
      hash = step(hash, byte);
      if (byte !== SLASH) continue;
      const prefix = this.#places[hash & (PLACES - 1)] as Prefix | null;
      return prefix?.bytes.length === i + 1 - at && this.#isAt(prefix, at, end) ? prefix : null;
    }
    return null;
  }
}

function step(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}

/** `views article/42 3` */
export class TextScanner extends Scanner {
  protected prefix(metric: string, type: string): { text: string; subjectAt: number } {
    return { text: `${metric} ${type}/`, subjectAt: metric.length + 1 };
  }

  protected rest(idAt: number): number {
    const bytes = this.bytes;
    let to = idAt;
    for (
      let byte = bytes[to] as number;
      byte > BLANK && byte < DELETE && byte !== PERCENT;
      byte = bytes[++to] as number
    );
    if (!this.isId(idAt, to)) return -1;
    this.by = 1;
    const rest = bytes[to] === BLANK ? this.amount(to + 1) : to;
    return rest < 0 ? -1 : this.lineEnd(rest);
  }
}

/** `{"metric":"views","subject":"article/42","by":3}` */
export class JsonScanner extends Scanner {
  protected prefix(metric: string, type: string): { text: string; subjectAt: number } {
    const before = `{"metric":"${metric}","subject":"`;
    return { text: `${before}${type}/`, subjectAt: before.length };
  }

  protected rest(idAt: number, end: number): number {
    const bytes = this.bytes;
    let to = idAt;
    for (
      let byte = bytes[to] as number;
      byte >= BLANK && byte < DELETE && byte !== QUOTE && byte !== BACKSLASH;
      byte = bytes[++to] as number
    );
    if (bytes[to] !== QUOTE || !this.isId(idAt, to)) return -1;
    this.by = 1;
    let rest = to + 1;
    if (bytes[rest] === COMMA) {
      if (rest + 6 >= end) return -1;
      if (this.view.getInt32(rest, true) !== BY_LOW || this.view.getInt16(rest + 4, true) !== BY_HIGH) return -1;
      rest = this.amount(rest + 6);
      if (rest < 0) return -1;
    }
    return bytes[rest] === BRACE ? this.lineEnd(rest + 1) : -1;
  }
}
