import { Database } from "bun:sqlite";
import { closeSync, fsyncSync, openSync, statSync } from "node:fs";
import { SHARDS } from "../arithmetic/shard.ts";
import { fault } from "../lib/fault.ts";
import { UPLOAD_STORED_MS } from "../limits.ts";
import { type Applied, type Batch, LedgerUnavailable, type LedgerWriter } from "../ports/ledger.ts";
import type { Position } from "../ports/log.ts";
import type { MilestoneRule } from "../ports/milestones.ts";
import { Applier } from "./apply.ts";
import { type DeltaBounds, Deltas } from "./deltas.ts";
import { type FilterShare, Filters } from "./filters.ts";
import { FilterKeeper } from "./kept-filters.ts";
import { KEY_STEPS, keyStep } from "./keys.ts";
import { MilestoneRows } from "./milestone-rows.ts";
import { OldHistory } from "./old-history.ts";
import { Refill } from "./refill.ts";
import { Segments } from "./segments.ts";

/** The current segment (9 MB in the first years), the newest counts and the inner pages of the rest. */
const CACHE_KIB = 48 * 1024;
const PAGE_BYTES = 16 * 1024;
/** The WAL goes back into the ledger when it has so many pages (64 MB), in the commit that reaches it. */
const WAL_PAGES = 4_000;
/** At this size, which it only reaches while readers hold old snapshots, new ones wait until it is empty. */
const WAL_BYTES_MAX = 512 * 1024 * 1024;
/** Readers hold a snapshot for less than a millisecond; a backup or `tally verify` may hold one for long. */
const RESTART_WAIT_MS = 100;
const BUSY_MS = 10_000;
/** Old keys go in slices, so that no batch waits for them. */
const PRUNE_ROWS = 5_000;
const PRUNE_UPLOADS = 20;
const PRUNE_UPLOADS_MS = 60_000;

/** As the settings have it by default. */
const HISTORY_DAYS = 400;

interface WriterOptions {
  milestones?: readonly MilestoneRule[];
  /** For so many days each hour of the history is kept. */
  historyDays?: number;
  /** For tests: when a segment is closed, when an actor gets totals, when counts are folded. */
  segmentRows?: number;
  totalsFrom?: number;
  deltas?: DeltaBounds;
}

/** The writing connection: one for a ledger, in the projector's thread. */
export class SqliteLedgerWriter implements LedgerWriter {
  #path: string;
  #db: Database;
  #filters: Filters;
  #segments: Segments;
  #deltas: Deltas;
  #applier: Applier;
  #refill: Refill;
  #keeper: FilterKeeper;
  #position: Position;
  #durable = -1;
  /** Open all the time: with every file in use, by connections, a batch must still become durable. */
  #wal: number;
  #last = new Map<string, Float64Array>();
  #prunedStep = 0;
  #oldHistory: OldHistory;
  #uploadsPrunedMs = 0;
  #sql: ReturnType<typeof prepare>;

  constructor(path: string, share: FilterShare, options: WriterOptions = {}) {
    this.#path = path;
    this.#db = openWriting(path);
    const filters = new Filters(share);
    this.#filters = filters;
    this.#segments = new Segments(this.#db, filters, options.segmentRows);
    this.#deltas = new Deltas(this.#db, options.deltas);
    const { milestones: rules = [] } = options;
    const milestones = rules.length > 0 ? new MilestoneRows(this.#db, rules) : null;
    const parts = { filters, segments: this.#segments, deltas: this.#deltas, milestones };
    this.#applier = new Applier(this.#db, parts, options.totalsFrom);
    this.#oldHistory = new OldHistory(this.#db, options.historyDays ?? HISTORY_DAYS);
    this.#refill = new Refill(this.#db, filters);
    this.#keeper = new FilterKeeper(this.#db, filters);
    this.#sql = prepare(this.#db);
    this.#position = this.#sql.position.get()?.at ?? 0;
    // It is there since the first read, and stays as long as somebody is connected.
    this.#wal = openSync(`${path}-wal`, "r+");
    for (const { source, shard, last } of this.#sql.sources.all()) this.#lastOf(source)[shard] = last;
  }

  position(): Position {
    return this.#position;
  }

  last(source: string, shard: number): number {
    return this.#last.get(source)?.[shard] ?? 0;
  }

  apply(batch: Batch): Applied {
    if (batch.position <= this.#position) {
      throw new Error(`a batch up to ${batch.position}, but the ledger is at ${this.#position}`);
    }
    this.#segments.begin(batch.registers.length > 0 || batch.jobs.some(({ kind }) => kind === "merge"));
    let applied: Applied;
    try {
      this.#sql.begin.run();
      applied = this.#applier.apply(batch);
      fault("projector.commit");
      this.#sql.commit.run();
    } catch (error) {
      this.#rollBack();
      throw asUnavailable(error);
    }
    this.#position = batch.position;
    this.#segments.committed();
    this.#deltas.committed();
    for (const { source, shard, last } of batch.sources) this.#lastOf(source)[shard] = last;
    return applied;
  }

  /**
   * With synchronous=NORMAL a commit is in the WAL but perhaps not on disk, so the WAL is synced here. What a checkpoint has
   * moved out of it is on disk too: SQLite syncs the ledger before it begins a WAL anew. After a power cut SQLite takes
   * the WAL's whole commits up to the first that is damaged, so nothing behind this position can be lost.
   */
  makeDurable(): Position {
    if (this.#durable === this.#position) return this.#durable;
    const position = this.#position;
    fsyncSync(this.#wal);
    this.#durable = position;
    return position;
  }

  tidy(nowMs: number, isBusy = false): boolean {
    try {
      this.#shrinkWal();
      this.#refillWhereAsked();
      if (this.#keeper.step(this.#segments.current)) return true;
      if (!isBusy && this.#refill.step()) return true;
      if (this.#deltas.fold(this.#db, isBusy)) return true;
      if (isBusy) return false;
      if (this.#pruneKeys(nowMs) || this.#pruneUploads(nowMs)) return true;
      return this.#applier.sketches.prune(nowMs) || this.#oldHistory.step(nowMs);
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  /** For tests: the file may not grow beyond so many pages, as if the disk were full. */
  limitPages(pages: number): void {
    this.#db.run(`PRAGMA max_page_count = ${pages}`);
  }

  close(): void {
    this.#db.run(`PRAGMA busy_timeout = ${RESTART_WAIT_MS}`);
    this.#db.query("PRAGMA wal_checkpoint(TRUNCATE)").all();
    closeSync(this.#wal);
    this.#db.close(true);
  }

  #rollBack(): void {
    try {
      if (this.#db.inTransaction) this.#sql.rollback.run();
      this.#applier.reload(this.#db);
    } catch (error) {
      if (!isOperating(error)) throw error;
    }
  }

  /** In this order: whoever asked is told when neither readers nor the next start believe what lacked something. */
  #refillWhereAsked(): void {
    const asked = this.#filters.refillAsked;
    if (asked === null) return;
    this.#filters.forget();
    this.#keeper.forget();
    this.#refill = new Refill(this.#db, this.#filters);
    this.#filters.refillBegun(asked);
  }

  #shrinkWal(): void {
    if (walBytes(this.#path) < WAL_BYTES_MAX) return;
    this.#db.run(`PRAGMA busy_timeout = ${RESTART_WAIT_MS}`);
    try {
      this.#db.query("PRAGMA wal_checkpoint(TRUNCATE)").get();
    } finally {
      this.#db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    }
  }

  /** Keys are kept a step longer than they count. */
  #pruneKeys(nowMs: number): boolean {
    const before = keyStep(nowMs) - KEY_STEPS;
    if (before === this.#prunedStep) return false;
    if (this.#sql.pruneKeys.run(before, PRUNE_ROWS).changes === PRUNE_ROWS) return true;
    this.#prunedStep = before;
    return false;
  }

  /** Whole sources, some at a time: the last line of one may be of another shard than those before. False: no more for now. */
  #pruneUploads(nowMs: number): boolean {
    if (nowMs - this.#uploadsPrunedMs < PRUNE_UPLOADS_MS) return false;
    const old = this.#sql.oldUploads.all(nowMs - UPLOAD_STORED_MS, PRUNE_UPLOADS);
    for (const { source } of old) {
      this.#sql.pruneUpload.run(source);
      this.#last.delete(source);
    }
    if (old.length === PRUNE_UPLOADS) return true;
    this.#uploadsPrunedMs = nowMs;
    return false;
  }

  #lastOf(source: string): Float64Array {
    let last = this.#last.get(source);
    if (!last) {
      last = new Float64Array(SHARDS);
      this.#last.set(source, last);
    }
    return last;
  }
}

/** What the outside can do to a ledger, by SQLite's code. All else is a bug or a damaged file. */
const OPERATING = /^SQLITE_(FULL|IOERR|BUSY|LOCKED|READONLY|CANTOPEN|NOMEM|PERM)/;

export function asUnavailable(error: unknown): unknown {
  return isOperating(error) ? new LedgerUnavailable(error.message, { cause: error }) : error;
}

function isOperating(error: unknown): error is Error {
  return error instanceof Error && OPERATING.test((error as { code?: string }).code ?? "");
}

/** Opens the ledger for writing; creates the file where there is none. */
export function openWriting(path: string): Database {
  const db = new Database(path, { create: true, readwrite: true });
  db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
  db.run(`PRAGMA page_size = ${PAGE_BYTES}`);
  db.run("PRAGMA journal_mode = WAL");
  db.run("PRAGMA synchronous = NORMAL");
  db.run(`PRAGMA wal_autocheckpoint = ${WAL_PAGES}`);
  db.run(`PRAGMA journal_size_limit = ${WAL_PAGES * PAGE_BYTES}`);
  db.run(`PRAGMA cache_size = -${CACHE_KIB}`);
  return db;
}

function walBytes(path: string): number {
  return statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}

function prepare(db: Database) {
  return {
    begin: db.prepare<never, []>("BEGIN IMMEDIATE"),
    commit: db.prepare<never, []>("COMMIT"),
    rollback: db.prepare<never, []>("ROLLBACK"),
    position: db.prepare<{ at: number }, []>("SELECT at FROM position"),
    sources: db.prepare<{ source: string; shard: number; last: number }, []>("SELECT source, shard, last FROM sources"),
    oldUploads: db.prepare<{ source: string }, [number, number]>(
      `SELECT source FROM sources WHERE source >= 'u' AND source < 'v'
       GROUP BY source HAVING max(at_ms) < ? LIMIT ?`,
    ),
    pruneUpload: db.prepare<never, [string]>("DELETE FROM sources WHERE source = ?"),
    pruneKeys: db.prepare<never, [number, number]>(
      "DELETE FROM keys WHERE (step, key) IN (SELECT step, key FROM keys WHERE step < ? LIMIT ?)",
    ),
  };
}
