import { WINDOWS, type WindowName } from "../arithmetic/windows.ts";
import { unavailable } from "../errors.ts";
import { TOP_AGE_MS_MAX, TOP_WAIT_MS_MAX } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { Rankings, TopList } from "../ports/rankings.ts";
import { keyOf, type ListName } from "../rankings/messages.ts";
import { isAway } from "./away.ts";
import type { MysqlLedgerReader } from "./mysql/reads.ts";

/** A list is read again when it is so old, in the background while it is not much older. */
const READ_MS = 250;
const BACKGROUND_MS = 1_000;
/** The leader is told again that a list is wanted. */
const REMIND_MS = 10_000;
const PAUSE_MS = 50;
const KNOWN_MAX = 2_000;

interface Known {
  remindedMs: number;
  /** When the list was last all there was, by this thread's clock. */
  currentMs: number;
  readMs: number;
  list: TopList | null;
  reading: Promise<void> | null;
}

/** What one request thread knows of the lists that the leading ranker stores in MySQL. */
export class ClusterTops implements Rankings {
  readonly #ledger: Pick<MysqlLedgerReader, "readTop" | "wantTop">;
  readonly #known = new Map<string, Known>();

  constructor(ledger: Pick<MysqlLedgerReader, "readTop" | "wantTop">) {
    this.#ledger = ledger;
  }

  top(metric: Metric, type: string, window: WindowName): TopList | Promise<TopList> {
    const name: ListName = { metric: metric.id, type, window: WINDOWS.indexOf(window) };
    const known = this.#knownOf(name);
    const nowMs = performance.now();
    const ageMs = nowMs - known.readMs;
    if (known.list !== null && ageMs < BACKGROUND_MS && nowMs - known.currentMs < TOP_AGE_MS_MAX) {
      if (ageMs > READ_MS) void this.#read(name, known).catch(() => undefined);
      return known.list;
    }
    return this.#wait(name, known);
  }

  async #wait(name: ListName, known: Known): Promise<TopList> {
    for (const deadline = performance.now() + TOP_WAIT_MS_MAX; ; ) {
      try {
        await this.#read(name, known);
      } catch (error) {
        if (!isAway(error)) throw error;
        if (!isYoung(known)) throw unavailable("MySQL is away, and the rankings are in it");
      }
      if (known.list !== null && isYoung(known)) return known.list;
      if (performance.now() > deadline) {
        throw unavailable("the rankings are not worked out yet: all changes of the last 30 days are read first", 2);
      }
      await Bun.sleep(PAUSE_MS);
    }
  }

  /** Once at a time for each list. */
  #read(name: ListName, known: Known): Promise<void> {
    known.reading ??= this.#readNow(name, known).finally(() => {
      known.reading = null;
    });
    return known.reading;
  }

  async #readNow(name: ListName, known: Known): Promise<void> {
    const beganMs = performance.now();
    if (beganMs - known.remindedMs > REMIND_MS) {
      await this.#ledger.wantTop(name);
      known.remindedMs = beganMs;
    }
    const read = await this.#ledger.readTop(name);
    known.readMs = performance.now();
    known.list = read?.list ?? null;
    known.currentMs = read === null ? Number.NEGATIVE_INFINITY : beganMs - read.ageMs;
  }

  #knownOf(name: ListName): Known {
    const key = keyOf(name);
    let known = this.#known.get(key);
    if (!known) {
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      const never = Number.NEGATIVE_INFINITY;
      known = { remindedMs: never, currentMs: never, readMs: never, list: null, reading: null };
      this.#known.set(key, known);
    }
    return known;
  }
}

function isYoung({ currentMs }: Known): boolean {
  return performance.now() - currentMs < TOP_AGE_MS_MAX;
}
