import { Worker } from "node:worker_threads";
import { notSettled } from "../errors.ts";
import { threadEntry } from "../lib/threads.ts";
import { COUNT_MAX, type Metric } from "../model.ts";
import type { Say, Verified } from "../ports/verified.ts";
import type { CounterTable } from "../tallies/table.ts";
import { expectedCount } from "./expected.ts";
import type { FilterShare } from "./filters.ts";
import type { Jobs } from "./jobs.ts";
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

interface Key {
  metric: number;
  subject: string;
}

/**
 * The counter table against the ledger and what is on its way to it, on main, beside the requests.
 *
 * What a slot shows less what it owes is what log and ledger must have. Of a relation the overlay has what is on its way. Of a
 * tally nothing is right after the flush has been applied, but for increments with a key, of bodies and imports. So those
 * that differ are looked at again, and those that always did once more while nothing is logged of them: that decides.
 */
export class TableCheck {
  readonly #table: CounterTable;
  readonly #parts: { overlay: Overlay; ledger: SqliteLedgerReader; key: RegisterKey };
  readonly #metrics: ReadonlyMap<number, Metric>;
  readonly #settle: () => Promise<boolean>;
  readonly #jobs: Pick<Jobs, "still">;

  constructor(parts: {
    table: CounterTable;
    overlay: Overlay;
    ledger: SqliteLedgerReader;
    metrics: readonly Metric[];
    /** Flushes and waits until the ledger has it. */
    settle: () => Promise<boolean>;
    jobs: Pick<Jobs, "still">;
  }) {
    this.#table = parts.table;
    this.#parts = { overlay: parts.overlay, ledger: parts.ledger, key: new RegisterKey() };
    this.#metrics = new Map(parts.metrics.map((metric) => [metric.id, metric]));
    this.#settle = parts.settle;
    this.#jobs = parts.jobs;
  }

  async run(repair: boolean, say: Say): Promise<{ differences: number; mended: number; counters: number }> {
    const all = await this.#lookAtAll();
    let { suspects } = all;
    for (let look = 1; look < LOOKS && suspects.length > 0; look++) {
      if (!(await this.#settle())) throw notSettled();
      const again = suspects;
      suspects = [];
      for (let from = 0; from < again.length; from += SLICE) {
        suspects.push(...again.slice(from, from + SLICE).filter((key) => this.#isDifferent(key)));
        await Bun.sleep(0);
      }
    }
    let differences = 0;
    for (let from = 0; from < suspects.length; from += SLICE) {
      const keys = suspects.slice(from, from + SLICE);
      await this.#jobs.still(keys, () => {
        for (const key of keys) if (this.#decide(key, repair, say)) differences++;
      });
    }
    return { differences, mended: repair ? differences : 0, counters: all.counters };
  }

  async #lookAtAll(): Promise<{ suspects: Key[]; counters: number }> {
    const suspects: Key[] = [];
    let counters = 0;
    if (!(await this.#settle())) throw notSettled();
    const look = (slot: number): void => {
      counters++;
      const key = this.#table.key(slot);
      if (this.#isDifferent(key)) suspects.push(key);
    };
    for (let from = 0; this.#table.visitLoaded(from, from + SLICE, look); from += SLICE) await Bun.sleep(0);
    return { suspects, counters };
  }

  #isDifferent({ metric, subject }: Key): boolean {
    const both = this.#look(metric, subject);
    return both !== null && both.found !== both.expected;
  }

  /** Whether it is different, of one that stands still. */
  #decide({ metric, subject }: Key, repair: boolean, say: Say): boolean {
    const both = this.#look(metric, subject);
    if (both === null || both.found === both.expected) return false;
    const name = this.#metrics.get(metric)?.name ?? `metric ${metric}`;
    if (repair) this.#table.addToBase(both.slot, both.expected - both.found);
    say(`counter of ${name} on ${subject}: shows ${both.found}, the ledger has ${both.expected}`, repair);
    return true;
  }

  /** Null where the counter has left the table. */
  #look(metric: number, subject: string): { slot: number; found: number; expected: number } | null {
    const slot = this.#table.find(metric, subject);
    if (slot < 0 || !this.#table.isLoaded(slot)) return null;
    const found = Math.min(this.#table.logged(slot), COUNT_MAX);
    return { slot, found, expected: Math.min(expectedCount(this.#parts, metric, subject), COUNT_MAX) };
  }
}
