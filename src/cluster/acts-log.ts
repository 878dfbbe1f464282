import { SHARDS } from "../arithmetic/shard.ts";
import { type HybridClock, stampAt } from "../arithmetic/stamp.ts";
import { isSystemError, Problem } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import type { LogWriter } from "../local/log.ts";
import type { OnceKey } from "../ports/counting.ts";
import { FrameWriter, type LogRecord, NO_SLOT } from "../records.ts";
import type { ActKeys } from "./act-keys.ts";
import { type Act, type ActAnswer, isLogged, type Logged } from "./messages.ts";
import type { NumberedFrame } from "./outbox-index.ts";
import type { Parcel } from "./parcels.ts";

/** A frame for one partition: where its acts stand among those given, and their numbers. */
interface OpenFrame {
  writer: FrameWriter;
  places: number[];
  /** That its acts are the first to have. */
  keys: OnceKey[];
  numbers: { shard: number; n: number }[];
}

type Unnumbered = WithoutNumber<Extract<LogRecord, { kind: "relation" | "tally" | "visitor" | "void" }>>;
type WithoutNumber<T> = T extends unknown ? Omit<T, "shard" | "n"> : never;
/** Nothing of it comes from the counter table. */
const NO_NOTE = { slot: NO_SLOT, notedAfter: 0 };

/** A parcel whose numbers need not be read out of it again. */
export interface NumberedParcel extends Parcel {
  frame: NumberedFrame;
}

/**
 * Stamps and numbers acts and appends them to the outbox, a frame for each partition they touch: the only one on this node
 * who does, so that numbers have no gaps and stamps rise.
 */
export class ActsLog {
  readonly #log: Pick<LogWriter, "append">;
  readonly #keys: ActKeys;
  readonly #clock: HybridClock;
  readonly #source: string;
  readonly #frames: OpenFrame[];
  readonly #last = new Float64Array(SHARDS);

  constructor(parts: {
    log: Pick<LogWriter, "append">;
    keys: ActKeys;
    clock: HybridClock;
    source: string;
    partitions: number;
  }) {
    this.#log = parts.log;
    this.#keys = parts.keys;
    this.#clock = parts.clock;
    this.#source = parts.source;
    this.#frames = Array.from({ length: parts.partitions }, () => ({
      writer: new FrameWriter(),
      places: [],
      keys: [],
      numbers: [],
    }));
  }

  /**
   * `answers` has null for an act that the disk or the clock refused: it is not in the log, no more than one whose key
   * is reused. The frames are its own until the next call. `atMs`: when acts came that bring no time.
   */
  append(acts: readonly Act[]): {
    answers: ActAnswer[];
    logged: Logged[];
    parcels: NumberedParcel[];
    atMs: number;
  } {
    const answers: ActAnswer[] = new Array(acts.length).fill(null);
    const nowMs = wallMs();
    for (const frame of this.#frames) {
      frame.writer.begin(this.#source);
      frame.places.length = 0;
      frame.keys = [];
      frame.numbers = [];
    }
    for (const [place, act] of acts.entries()) answers[place] = this.#add(act, place, nowMs);
    const parcels: NumberedParcel[] = [];
    for (const [partition, { writer, places, keys, numbers }] of this.#frames.entries()) {
      if (writer.count === 0) continue;
      const bytes = writer.finish();
      try {
        const end = this.#log.append(bytes, false);
        parcels.push({ partition, bytes, end, frame: { source: this.#source, records: numbers } });
      } catch (error) {
        if (!isSystemError(error)) throw error;
        this.#takeBack(numbers);
        for (const key of keys) this.#keys.forget(key);
        for (const place of places) answers[place] = null;
      }
    }
    return { answers, logged: answers.filter(isLogged), parcels, atMs: nowMs };
  }

  #add(act: Act, place: number, nowMs: number): ActAnswer {
    const { shard, metric, subject, actor, active, by, seen, isKept, atMs, visitor } = act;
    const frame = this.#frames[shard % this.#frames.length] as OpenFrame;
    const once = act.once === null ? undefined : { ...act.once, atMs: nowMs };
    if (once && this.#keys.isReused(once, nowMs)) {
      // The other body may be that of an act in this frame, which is not in the log yet: its fate is this one's.
      frame.places.push(place);
      return "key-reused";
    }
    try {
      const acted = () => (atMs === null ? this.#clock.stamp(nowMs, seen ?? 0, active) : stampAt(atMs, active));
      // Where nobody else can tell that it is a repeat its register may have changed since, and must stay as it is.
      const isRepeated = once !== undefined && this.#keys.isRepeated(once, nowMs);
      const stamp = actor === "" ? 0 : isKept || isRepeated ? (seen ?? 0) : acted();
      const about = { metric, subject };
      const what = { ...about, once, past: atMs !== null };
      const times = { atMs: atMs ?? nowMs };
      const records: Unnumbered[] = [];
      if (visitor !== null) records.push({ kind: "visitor", ...about, code: visitor, ...times });
      if (actor !== "") records.push({ kind: "relation", ...what, actor, stamp });
      else if (by > 0) records.push({ kind: "tally", ...what, amount: by, ...times, ...NO_NOTE });
      else if (once) records.push({ kind: "void", ...about, once });
      if (once && this.#keys.take(once)) frame.keys.push(once);
      frame.places.push(place);
      let n = this.#last[shard] as number;
      for (const record of records) {
        frame.writer.add({ ...record, shard, n: ++n });
        frame.numbers.push({ shard, n });
      }
      this.#last[shard] = n;
      return { stamp, source: this.#source, n, isShipped: false, isTold: false };
    } catch (error) {
      // A clock far behind: this act is refused, the others go on.
      if (error instanceof Problem) return null;
      throw error;
    }
  }

  /** The frame is not in the log: its numbers are given back, so that no gap stays. */
  #takeBack(numbers: NumberedFrame["records"]): void {
    for (const { shard, n } of numbers) this.#last[shard] = Math.min(this.#last[shard] as number, n - 1);
  }
}
