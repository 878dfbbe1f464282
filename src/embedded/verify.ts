import { Worker } from "node:worker_threads";
import { threadEntry } from "../lib/threads.ts";
import { COUNT_MAX, type Metric } from "../model.ts";
import type { Say, Verified } from "../ports/verified.ts";
import type { CounterTable } from "../tallies/table.ts";
import { expectedCount } from "./expected.ts";
import type { FilterShare } from "./filters.ts";
import { type Overlay, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/** What main hands to the thread that recounts. */
export interface VerifyData {
  ledgerPath: string;
  filters: FilterShare;
  logFolder: string;
  logHead: SharedArrayBuffer;
  repair: boolean;
}

export type VerifyMessage =
  | { kind: "difference"; text: string; isMended: boolean }
  | { kind: "done"; frames: number; records: number; registers: number };

/** Rows against counts and filters, and the log, in a thread of its own. */
export function verifyStores(data: VerifyData, say: Say): Promise<Verified> {
  return new Promise((resolve, reject) => {
    const result: Verified = { differences: 0, mended: 0, counters: 0, registers: 0, frames: 0 };
    const worker = new Worker(threadEntry("embedded/verify-thread.ts"), { workerData: data });
    worker.on("message", (message: VerifyMessage) => {
      if (message.kind === "difference") {
        result.differences++;
        if (message.isMended) result.mended++;
        say(message.text, message.isMended);
      } else {
        result.frames = message.frames;
        result.registers = message.registers;
        resolve(result);
      }
    });
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`the recount ended with ${code}`)));
  });
}

/** Looks at a counter again so often before it is called different: acts come and go meanwhile. */
const LOOKS = 20;
/** Counters looked at between two turns of main's event loop. */
const SLICE = 2_000;

/**
 * The counter table against the ledger and what is on its way to it, on main, beside the requests.
 *
 * What a slot shows less what it owes is what log and ledger must have. Of a tally nothing is on its way right after the
 * flush has been applied, because only main flushes; of a relation the overlay has it. An act between two looks makes them
 * differ for a moment, so a counter is different only if it stays so.
 */
export class TableCheck {
  readonly #table: CounterTable;
  readonly #parts: { overlay: Overlay; ledger: SqliteLedgerReader; key: RegisterKey };
  readonly #metrics: ReadonlyMap<number, Metric>;
  readonly #settle: () => Promise<boolean>;

  constructor(parts: {
    table: CounterTable;
    overlay: Overlay;
    ledger: SqliteLedgerReader;
    metrics: readonly Metric[];
    /** Flushes and waits until the ledger has it. */
    settle: () => Promise<boolean>;
  }) {
    this.#table = parts.table;
    this.#parts = { overlay: parts.overlay, ledger: parts.ledger, key: new RegisterKey() };
    this.#metrics = new Map(parts.metrics.map((metric) => [metric.id, metric]));
    this.#settle = parts.settle;
  }

  async run(repair: boolean, say: Say): Promise<{ differences: number; mended: number; counters: number }> {
    const keys: { metric: number; subject: string }[] = [];
    this.#table.visitLoaded((slot) => keys.push(this.#table.key(slot)));
    let suspects = keys;
    for (let look = 0; look < LOOKS && suspects.length > 0; look++) {
      await this.#settle();
      suspects = await this.#different(suspects);
    }
    for (const { metric, subject } of suspects) {
      const both = this.#look(metric, subject);
      if (!both) continue;
      const name = this.#metrics.get(metric)?.name ?? `metric ${metric}`;
      if (repair) this.#table.addToBase(both.slot, both.expected - both.found);
      say(`counter of ${name} on ${subject}: shows ${both.found}, the ledger has ${both.expected}`, repair);
    }
    return { differences: suspects.length, mended: repair ? suspects.length : 0, counters: keys.length };
  }

  async #different(keys: { metric: number; subject: string }[]): Promise<{ metric: number; subject: string }[]> {
    const different: { metric: number; subject: string }[] = [];
    for (let from = 0; from < keys.length; from += SLICE) {
      for (const key of keys.slice(from, from + SLICE)) {
        const both = this.#look(key.metric, key.subject);
        if (both && both.found !== both.expected) different.push(key);
      }
      await Bun.sleep(0);
    }
    return different;
  }

  /** Null where the counter has left the table. */
  #look(metric: number, subject: string): { slot: number; found: number; expected: number } | null {
    const slot = this.#table.find(metric, subject);
    if (slot < 0 || !this.#table.isLoaded(slot)) return null;
    const found = Math.min(this.#table.shown(slot) - this.#table.owed(slot), COUNT_MAX);
    return { slot, found, expected: Math.min(expectedCount(this.#parts, metric, subject), COUNT_MAX) };
  }
}
