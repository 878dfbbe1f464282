import { othersTurn } from "../../lib/slices.ts";
import { EVENT_LINE_BYTES_MAX, EVENT_SLICE_BYTES } from "../../limits.ts";

const NEWLINE = 0x0a;

/** What becomes of the lines. */
export interface LineTaker {
  /** Whole lines: `bytes[from, to)` ends with a newline. The bytes stand still until it resolves. */
  lines(bytes: Uint8Array, from: number, to: number): void | Promise<void>;
  /** A line that is longer than a line may be; its bytes are gone. */
  tooLong(): void | Promise<void>;
}

/**
 * Cuts what arrives into whole lines, slice by slice. Only the line that a chunk ends in the middle of is copied, and of a
 * line that is too long nothing is kept.
 */
export class LineReader {
  readonly #taker: LineTaker;
  /** The beginning of a line whose end has not come. */
  readonly #begun = new Uint8Array(EVENT_LINE_BYTES_MAX + 1);
  #begunBytes = 0;
  /** In a line that is too long, until its end. */
  #isSkipping = false;

  constructor(taker: LineTaker) {
    this.#taker = taker;
  }

  async take(chunk: Uint8Array): Promise<void> {
    let at = 0;
    if (this.#begunBytes > 0 || this.#isSkipping) at = await this.#goOn(chunk);
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    while (at < end) {
      const to = sliceEnd(chunk, at, end);
      if (to - at > EVENT_LINE_BYTES_MAX && isLong(chunk, at, to)) {
        await this.#lineByLine(chunk, at, to);
      } else {
        const taken = this.#taker.lines(chunk, at, to);
        if (taken) await taken;
      }
      at = to;
      if (at < end) await othersTurn();
    }
    if (at < chunk.length) await this.#begin(chunk, at, chunk.length);
  }

  /** The body is over: its last line may lack its newline. */
  async end(): Promise<void> {
    this.#isSkipping = false;
    const length = this.#begunBytes;
    if (length === 0) return;
    this.#begunBytes = 0;
    this.#begun[length] = NEWLINE;
    await this.#taker.lines(this.#begun, 0, length + 1);
  }

  /** The rest of a line that an earlier chunk began; where it ends. */
  async #goOn(chunk: Uint8Array): Promise<number> {
    const newline = chunk.indexOf(NEWLINE);
    const end = newline < 0 ? chunk.length : newline + 1;
    if (this.#isSkipping) {
      this.#isSkipping = newline < 0;
      return end;
    }
    await this.#begin(chunk, 0, end);
    if (newline < 0) return end;
    if (this.#isSkipping) {
      this.#isSkipping = false;
      return end;
    }
    const length = this.#begunBytes;
    this.#begunBytes = 0;
    await this.#taker.lines(this.#begun, 0, length);
    return end;
  }

  /** Keeps `chunk[from, to)`, part of one line, or finds that the line is too long. */
  async #begin(chunk: Uint8Array, from: number, to: number): Promise<void> {
    const bytes = to - from;
    const isWhole = chunk[to - 1] === NEWLINE;
    if (this.#begunBytes + bytes - (isWhole ? 1 : 0) > EVENT_LINE_BYTES_MAX) {
      this.#begunBytes = 0;
      this.#isSkipping = true;
      await this.#taker.tooLong();
      return;
    }
    this.#begun.set(chunk.subarray(from, to), this.#begunBytes);
    this.#begunBytes += bytes;
  }

  async #lineByLine(chunk: Uint8Array, from: number, to: number): Promise<void> {
    for (let at = from; at < to; ) {
      const end = chunk.indexOf(NEWLINE, at) + 1;
      if (end - 1 - at > EVENT_LINE_BYTES_MAX) await this.#taker.tooLong();
      else await this.#taker.lines(chunk, at, end);
      at = end;
    }
  }
}

/** A slice is as much as one thread works on without looking up. It ends with a line. */
function sliceEnd(chunk: Uint8Array, from: number, end: number): number {
  if (end - from <= EVENT_SLICE_BYTES) return end;
  const last = chunk.lastIndexOf(NEWLINE, from + EVENT_SLICE_BYTES - 1);
  return last >= from ? last + 1 : chunk.indexOf(NEWLINE, from) + 1;
}

/** Whether some line of the slice is too long: each of its stretches of that length holds a newline otherwise. */
function isLong(chunk: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at + EVENT_LINE_BYTES_MAX < to; ) {
    const newline = chunk.lastIndexOf(NEWLINE, at + EVENT_LINE_BYTES_MAX);
    if (newline < at) return true;
    at = newline + 1;
  }
  return false;
}
