import { Turns } from "../../lib/turns.ts";
import { LedgerUnavailable } from "../../ports/ledger.ts";
import type { WebhookSetting } from "../../webhooks/milestones.ts";
import { applyMessages } from "./apply.ts";
import { asUnavailable, type Deadlines, isLock, LedgerConnection, PATIENT } from "./connection.ts";
import type { AppliedMessages, ApplyOptions, LogMessage } from "./messages.ts";
import { MilestoneRules } from "./milestones.ts";
import { OldHistory } from "./old-history.ts";
import { RegisterStore } from "./registers.ts";
import { pruneSketches } from "./sketches.ts";
import { wholeSql } from "./sql.ts";

const LOCK_TRIES = 6;
const BACKOFF_MS = 20;
/** Old keys go in slices, so that no batch waits for them. */
const PRUNE_ROWS = 5_000;
const PRUNE_SKETCHES = 500;
/**
 * Keys count for 10 minutes by the clocks of those who wrote them, and are kept for longer by the ledger's own: a
 * repeat that had to wait in a spool or behind a projector that was away still finds its key.
 */
const KEYS_KEPT_MS = 30 * 60_000;
const PRUNE_EVERY_MS = 60_000;

/** As the settings have it by default. */
const HISTORY_DAYS = 400;

interface MysqlWriterOptions {
  webhooks?: readonly WebhookSetting[];
  /** For so many days each hour of the history is kept. */
  historyDays?: number;
  now?: () => number;
  deadlines?: Deadlines;
}

/**
 * The projector's connection to the ledger. Several nodes may each have one: the rows of the shards keep them apart,
 * and numbers decide.
 *
 * `apply` is one transaction: all of its messages with their positions, or nothing, and then it throws.
 * LedgerUnavailable says that the reason lies outside, and that the same messages may be given again, whatever became
 * of the first try: what was stored is found decided.
 */
export class MysqlLedgerWriter {
  readonly #url: string;
  readonly #now: () => number;
  readonly #deadlines: Deadlines;
  readonly #registers = new RegisterStore();
  readonly #milestones: MilestoneRules;
  #connection: LedgerConnection | null = null;
  #prunedMs = 0;
  readonly #oldHistory: OldHistory;
  readonly #turns = new Turns();

  constructor(url: string, options: MysqlWriterOptions = {}) {
    this.#url = url;
    this.#now = options.now ?? Date.now;
    this.#deadlines = options.deadlines ?? PATIENT;
    this.#milestones = new MilestoneRules(options.webhooks ?? []);
    this.#oldHistory = new OldHistory(options.historyDays ?? HISTORY_DAYS);
  }

  /**
   * Messages in the order of each partition, of any number of partitions; those that are held from the call before
   * first.
   */
  apply(messages: readonly LogMessage[], options: ApplyOptions): Promise<AppliedMessages> {
    if (messages.length === 0 && !options.positions?.size) throw new Error("nothing to apply");
    return this.#transaction(async (connection) => {
      const milestones = await this.#milestones.of(connection);
      return applyMessages(connection, this.#registers, messages, { ...options, nowMs: this.#now(), milestones });
    });
  }

  /** A slice of the work that can wait; false: there is none. */
  async tidy(nowMs = this.#now()): Promise<boolean> {
    // A clock that was ahead for a moment must not put it off for years.
    if (Math.abs(nowMs - this.#prunedMs) < PRUNE_EVERY_MS) return false;
    const before = wholeSql(nowMs - KEYS_KEPT_MS);
    const isMore = await this.#transaction(async (connection) => {
      const { affectedRows: keys } = await connection.write(
        `DELETE FROM \`keys\` WHERE seen_ms < ${before} ORDER BY seen_ms LIMIT ${PRUNE_ROWS}`,
      );
      await this.#oldHistory.step(connection, nowMs);
      const sketches = await pruneSketches(connection, nowMs, PRUNE_SKETCHES);
      await connection.write("COMMIT");
      return keys === PRUNE_ROWS || sketches === PRUNE_SKETCHES;
    });
    if (isMore) return true;
    await this.#transaction(async (connection) => {
      await connection.write(`DELETE FROM erased WHERE at_ms < ${before} ORDER BY at_ms LIMIT ${PRUNE_ROWS}`);
      await connection.write("COMMIT");
    });
    this.#prunedMs = nowMs;
    return false;
  }

  /** Whether it takes a transaction that changes nothing: then what it does not take is to blame. */
  async isWell(): Promise<boolean> {
    try {
      await this.#transaction(async (connection) => {
        await connection.write("UPDATE shards SET version = version WHERE shard = 0");
        await connection.write("COMMIT");
      });
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#connection?.close();
    this.#connection = null;
  }

  /**
   * Runs `work`, which ends with its COMMIT, until it is done, one after the other: again after a deadlock, and once
   * again on another connection when the one it had was lost. Then its COMMIT may have been stored or not; what `work`
   * does is safe either way.
   */
  async #transaction<T>(work: (connection: LedgerConnection) => Promise<T>): Promise<T> {
    const done = await this.#turns.take("connection");
    let wasLost = false;
    try {
      for (let tries = 1; ; tries++) {
        const connection = await this.#connected();
        try {
          return await work(connection);
        } catch (error) {
          await this.#rollBack(connection);
          if (!isLock(error) || tries === LOCK_TRIES) {
            const unavailable = asUnavailable(error);
            const isLost = unavailable instanceof LedgerUnavailable && !connection.isOpen;
            if (!isLost || wasLost) throw unavailable;
            wasLost = true;
          } else await Bun.sleep(Math.random() * BACKOFF_MS * 2 ** tries);
        }
      }
    } finally {
      done();
    }
  }

  async #connected(): Promise<LedgerConnection> {
    if (!this.#connection?.isOpen) this.#connection = await LedgerConnection.open(this.#url, this.#deadlines, false);
    return this.#connection;
  }

  /** A connection that cannot even take back is given up: the server takes back what it had. */
  async #rollBack(connection: LedgerConnection): Promise<void> {
    if (!connection.isOpen) return;
    try {
      await connection.write("ROLLBACK");
    } catch {
      connection.close();
    }
  }
}
