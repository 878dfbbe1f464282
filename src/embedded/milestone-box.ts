import { Database } from "bun:sqlite";
import type { MilestoneBox, Untold } from "../ports/milestones.ts";

/** The projector's transactions keep others from writing for a moment. Nobody here may wait for that: main answers too. */
const BUSY_PAUSE_MS = 20;

interface Row {
  subject: string;
  metric: number;
  name: string;
  threshold: number;
  url: string;
  count: number;
  atMs: number;
  tries: number;
}

/** For one taker only: what it has taken it knows itself, so a lease costs no write, and ends with the process. */
export class SqliteMilestoneBox implements MilestoneBox {
  readonly #db: Database;
  readonly #sql: ReturnType<typeof prepare>;
  readonly #taken = new Map<string, number>();

  constructor(path: string) {
    this.#db = new Database(path, { readwrite: true });
    this.#db.run("PRAGMA busy_timeout = 0");
    this.#db.run("PRAGMA synchronous = NORMAL");
    // The WAL's way back into the ledger is the projector's.
    this.#db.run("PRAGMA wal_autocheckpoint = 0");
    this.#sql = prepare(this.#db);
  }

  async take(
    url: string,
    { nowMs, leaseMs, limit }: { nowMs: number; leaseMs: number; limit: number },
  ): Promise<Untold[]> {
    for (const [name, untilMs] of this.#taken) if (untilMs <= nowMs) this.#taken.delete(name);
    const rows = this.#sql.due.all(url, nowMs, limit + this.#taken.size);
    const free = rows.filter((row) => !this.#taken.has(nameOf(row))).slice(0, limit);
    for (const row of free) this.#taken.set(nameOf(row), nowMs + leaseMs);
    return free;
  }

  async settle(milestone: Untold, dueMs: number | null): Promise<void> {
    const { subject, metric, threshold, url } = milestone;
    while (!this.#tried(() => this.#sql.settle.run(dueMs, subject, metric, threshold, url)))
      await Bun.sleep(BUSY_PAUSE_MS);
    this.#taken.delete(nameOf(milestone));
  }

  async waiting(): Promise<number> {
    return this.#sql.waiting.get()?.rows ?? 0;
  }

  close(): void {
    this.#db.close();
  }

  #tried(write: () => unknown): boolean {
    try {
      write();
      return true;
    } catch (error) {
      if ((error as { code?: string }).code?.startsWith("SQLITE_BUSY")) return false;
      throw error;
    }
  }
}

function nameOf({ subject, metric, threshold, url }: Row): string {
  return JSON.stringify([subject, metric, threshold, url]);
}

function prepare(db: Database) {
  return {
    due: db.prepare<Row, [string, number, number]>(
      `SELECT subject, metric, name, threshold, url, count, at_ms AS atMs, tries
       FROM milestones JOIN metrics ON metrics.id = metric WHERE url = ? AND due_ms <= ? ORDER BY due_ms LIMIT ?`,
    ),
    settle: db.prepare<never, [number | null, string, number, number, string]>(
      `UPDATE milestones SET tries = tries + 1, due_ms = ?
       WHERE subject = ? AND metric = ? AND threshold = ? AND url = ?`,
    ),
    waiting: db.prepare<{ rows: number }, []>("SELECT count(*) AS rows FROM milestones WHERE due_ms IS NOT NULL"),
  };
}
