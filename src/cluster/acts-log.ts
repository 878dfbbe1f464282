import { SHARDS } from "../arithmetic/shard.ts";
import type { HybridClock } from "../arithmetic/stamp.ts";
import { isSystemError, Problem } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import { LogBroken, type LogWriter } from "../local/log.ts";
import { FrameWriter, type LogRecord, NO_SLOT } from "../records.ts";
import type { Parcel } from "./lane.ts";
import type { Act, Logged } from "./messages.ts";

/**
 * Stamps and numbers acts and appends them to the outbox, a frame for each partition they touch: the only one on this node
 * who does, so that numbers have no gaps and stamps rise.
 */
export class ActsLog {
  readonly #log: LogWriter;
  readonly #clock: HybridClock;
  readonly #source: string;
  readonly #frames: { writer: FrameWriter; places: number[] }[];
  readonly #last = new Float64Array(SHARDS);

  constructor(parts: { log: LogWriter; clock: HybridClock; source: string; partitions: number }) {
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#source = parts.source;
    this.#frames = Array.from({ length: parts.partitions }, () => ({ writer: new FrameWriter(), places: [] }));
  }

  /** Null for an act that is not in the log: the disk or the clock refused it. The frames are its own until the next call. */
  append(acts: readonly Act[]): { logged: (Logged | null)[]; parcels: Parcel[]; trouble: string | null } {
    const logged: (Logged | null)[] = new Array(acts.length).fill(null);
    const nowMs = wallMs();
    for (const { writer, places } of this.#frames) {
      writer.begin(this.#source);
      places.length = 0;
    }
    for (const [place, act] of acts.entries()) logged[place] = this.#add(act, place, nowMs);
    const parcels: Parcel[] = [];
    let trouble: string | null = null;
    for (const [partition, { writer, places }] of this.#frames.entries()) {
      if (writer.count === 0) continue;
      const bytes = writer.finish();
      try {
        parcels.push({ partition, bytes, end: this.#log.append(bytes, false) });
      } catch (error) {
        if (error instanceof LogBroken || !isSystemError(error)) throw error;
        trouble = error.message;
        this.#takeBack(writer);
        for (const place of places) logged[place] = null;
      }
    }
    return { logged, parcels, trouble };
  }

  #add(act: Act, place: number, nowMs: number): Logged | null {
    const { shard, metric, subject, actor, active, by, seen, isKept } = act;
    const frame = this.#frames[shard % this.#frames.length] as { writer: FrameWriter; places: number[] };
    const once = act.once === null ? undefined : { ...act.once, atMs: nowMs };
    try {
      const stamp = actor === "" ? 0 : isKept ? (seen ?? 0) : this.#clock.stamp(nowMs, seen ?? 0, active);
      const n = (this.#last[shard] as number) + 1;
      const head = { shard, n, metric, subject, once };
      const record: LogRecord =
        actor === ""
          ? { kind: "tally", ...head, amount: by, atMs: nowMs, slot: NO_SLOT, notedAfter: 0 }
          : { kind: "relation", ...head, actor, stamp };
      frame.writer.add(record);
      frame.places.push(place);
      this.#last[shard] = n;
      return { stamp, source: this.#source, n, isShipped: false };
    } catch (error) {
      // A clock far behind: this act is refused, the others go on.
      if (error instanceof Problem) return null;
      throw error;
    }
  }

  /** The frame is not in the log: its numbers are given back, so that no gap stays. */
  #takeBack(writer: FrameWriter): void {
    for (const { shard, n } of writer.read().records) {
      this.#last[shard] = Math.min(this.#last[shard] as number, n - 1);
    }
  }
}
