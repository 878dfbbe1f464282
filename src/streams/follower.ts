import { STREAM_CHUNK_CHARACTERS } from "../limits.ts";
import { BEAT, countEvent } from "./events.ts";

/** A count that somebody follows. */
export interface Followed {
  /** The event's data up to the count. */
  readonly head: string;
  /** What was read last. */
  count: number;
}

/** Where a reader's events go: a connection. */
export interface Sink {
  /** False: it is taken, and nothing more fits before `Follower.drained` is called. Nothing after `end`. */
  write(text: string): boolean;
  end(): void;
}

const NEVER_SENT = Number.NaN;

/**
 * One reader of a stream: the counts it follows, and for each what it was sent last.
 *
 * Nothing is queued for it but marks: which counts have changed. A *pass* sends the latest of each marked count once, as
 * fast as the reader takes it. Marks that come meanwhile on counts still to be sent are served by it, others wait for the
 * next pass, and between two passes lies the watch's interval, so no count is sent more often, however the reader stops and
 * goes. A reader that is slow has fewer passes, and each tells the latest.
 *
 *     idle ── begin ──▸ passing ◂── drained ── full
 *       ◂── all sent ──────┘  └── write: full ──▸
 */
export class Follower {
  readonly followed: readonly Followed[];
  readonly #sent: Float64Array;
  readonly #marks: Uint8Array;
  /** Places marked since the pass began. */
  #next: number[] = [];
  #pass: readonly number[] = [];
  #at = 0;
  #sink: Sink | null = null;
  #isFull = false;
  /** When the last pass began, or, where the reader made it wait, ended. */
  #passedMs = Number.NEGATIVE_INFINITY;
  /** When it was full for the first time since it took all. */
  #fullSinceMs = 0;

  constructor(followed: readonly Followed[]) {
    this.followed = followed;
    this.#sent = new Float64Array(followed.length).fill(NEVER_SENT);
    this.#marks = new Uint8Array(followed.length);
    for (let place = 0; place < followed.length; place++) this.mark(place);
  }

  /** The count in this place has moved by something that is not told: what was sent stands for what it is now. */
  shift(place: number, delta: number): void {
    this.#sent[place] = (this.#sent[place] as number) + delta;
  }

  /** The count in this place may have changed. */
  mark(place: number): void {
    if (this.#marks[place] === 1) return;
    this.#marks[place] = 1;
    this.#next.push(place);
  }

  /** All of it goes there from now on, the snapshot at once. */
  attach(sink: Sink, id: string, nowMs: number): void {
    this.#sink = sink;
    this.begin(id, nowMs, 0);
  }

  /** Begins a pass, if none is under way, the last one is `everyMs` past and something is marked; false: ask again later. */
  begin(id: string, nowMs: number, everyMs: number): boolean {
    if (this.#sink === null || this.#isFull || nowMs - this.#passedMs < everyMs) return false;
    if (this.#next.length === 0) return true;
    this.#pass = this.#next;
    this.#next = [];
    this.#at = 0;
    this.#passedMs = nowMs;
    this.#send(id, nowMs);
    return true;
  }

  /** The connection has taken what it was given. */
  drained(id: string, nowMs: number): void {
    this.#isFull = false;
    this.#passedMs = nowMs;
    this.#send(id, nowMs);
  }

  /** A comment, so that nobody on the way takes the connection for dead; not to one that is full. */
  beat(nowMs: number): void {
    if (this.#sink !== null && !this.#isFull) this.#write(BEAT, nowMs);
  }

  /** For how long it has taken nothing. */
  stalledMs(nowMs: number): number {
    return this.#isFull ? nowMs - this.#fullSinceMs : 0;
  }

  /** Ends the connection. */
  end(): void {
    const sink = this.#sink;
    this.#sink = null;
    sink?.end();
  }

  #send(id: string, nowMs: number): void {
    while (!this.#isFull && this.#at < this.#pass.length) {
      const text = this.#chunk(id);
      if (text !== "") this.#write(text, nowMs);
    }
  }

  /** The next events of the pass; of a count that is what it was when it was sent last, none. */
  #chunk(id: string): string {
    let text = "";
    while (this.#at < this.#pass.length && text.length < STREAM_CHUNK_CHARACTERS) {
      const place = this.#pass[this.#at++] as number;
      const { head, count } = this.followed[place] as Followed;
      this.#marks[place] = 0;
      if (count === this.#sent[place]) continue;
      this.#sent[place] = count;
      text += countEvent(id, head, count);
    }
    return text;
  }

  #write(text: string, nowMs: number): void {
    if (this.#sink === null || this.#sink.write(text)) return;
    this.#isFull = true;
    this.#fullSinceMs = nowMs;
  }
}
