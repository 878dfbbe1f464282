import type { Database } from "bun:sqlite";
import { HOUR_S, hourOf } from "../arithmetic/windows.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import type { Beginning, Renamed, StepFrame, Steps, StoredFrame } from "../ports/steps.ts";
import { openWriting } from "./ledger.ts";

const CACHE_KIB = 4 * 1024;
/** Changes told at once, about. */
const CHANGES_BYTES = 4 * 1024 * 1024;
const FORGET_ROWS = 16;
/** As long as a frame takes, about. */
const PAUSE_COUNTS = 20_000;

/**
 * The steps in the SQLite ledger, with a connection of its own: the projector adds changes, the ranker takes them from there
 * into the steps. The two write in turn, each for some milliseconds.
 */
export class SqliteSteps implements Steps {
  readonly #db: Database;
  readonly #sql: ReturnType<typeof prepare>;
  /** Up to where changes were told. */
  #position = -1;
  #isInterrupted = false;

  constructor(path: string) {
    this.#db = openWriting(path);
    this.#db.run(`PRAGMA cache_size = -${CACHE_KIB}`);
    this.#sql = prepare(this.#db);
  }

  /** Ten million counters take half a minute: in between it looks whether it is to stop. */
  async begin(from: number, beginning: Beginning): Promise<void> {
    const sql = this.#sql;
    this.#position = -1;
    this.#db.run("BEGIN");
    try {
      beginning.renamed(sql.renamed.all());
      for (const { id, frame, isHour } of sql.allSteps.iterate(from)) {
        if (!beginning.step({ id, frame: Buffer.from(frame) }, isHour === 1)) break;
        await this.#pause();
      }
      for (const { position, frame } of sql.changes.iterate(-1)) {
        beginning.change(Buffer.from(frame));
        this.#position = position;
        await this.#pause();
      }
      let counts = 0;
      for (const { metric, subject, count } of sql.counts.iterate()) {
        if (!beginning.count(metric, subject, count)) break;
        if (++counts % PAUSE_COUNTS === 0) await this.#pause();
      }
    } finally {
      this.#db.run("COMMIT");
    }
  }

  /** A `begin` that is under way rejects. */
  interrupt(): void {
    this.#isInterrupted = true;
  }

  async #pause(): Promise<void> {
    await Bun.sleep(0);
    if (this.#isInterrupted) throw new LedgerUnavailable("the beginning was interrupted");
  }

  changes(): Buffer[] {
    const frames: Buffer[] = [];
    let bytes = 0;
    for (const { position, frame } of this.#sql.changes.iterate(this.#position)) {
      this.#position = position;
      frames.push(Buffer.from(frame));
      bytes += frame.length;
      if (bytes > CHANGES_BYTES) break;
    }
    return frames;
  }

  save(frames: readonly StepFrame[], renames: readonly [subject: string, becomes: string][]): Renamed[] {
    return this.#db
      .transaction(() => {
        const upTo = this.#sql.lastId.get()?.id ?? 0;
        const atS = Math.floor(Date.now() / 1000);
        for (const [subject, becomes] of renames) this.#sql.rename.run(subject, becomes, upTo, atS);
        for (const { at, frame } of frames) this.#sql.add.run(at, 0, frame);
        this.#sql.dropChanges.run(this.#position);
        return renames.map(([subject, becomes]) => ({ subject, becomes, upTo }));
      })
      .immediate();
  }

  read(from: number, to: number): StoredFrame[] {
    return this.#sql.steps.all(from, to).map(({ id, frame }) => ({ id, frame: Buffer.from(frame) }));
  }

  oldHour(before: number): number | null {
    const at = this.#sql.oldest.get(hourOf(before))?.at ?? null;
    return at === null ? null : hourOf(at);
  }

  replaceHour(hour: number, frames: readonly Buffer[]): void {
    this.#db
      .transaction(() => {
        this.#sql.dropHour.run(hour, hour + HOUR_S);
        for (const frame of frames) this.#sql.add.run(hour, 1, frame);
      })
      .immediate();
  }

  forget(before: number): boolean {
    this.#sql.forgetRenames.run(before);
    return this.#sql.forget.run(before, FORGET_ROWS).changes > 0;
  }

  close(): void {
    this.#db.close(true);
  }
}

function prepare(db: Database) {
  return {
    renamed: db.prepare<Renamed, []>("SELECT subject, becomes, up_to AS upTo FROM step_subjects ORDER BY id"),
    allSteps: db.prepare<{ id: number; frame: Uint8Array; isHour: number }, [number]>(
      "SELECT id, frame, is_hour AS isHour FROM steps WHERE at >= ? ORDER BY id",
    ),
    changes: db.prepare<{ position: number; frame: Uint8Array }, [number]>(
      "SELECT position, frame FROM changes WHERE position > ? ORDER BY position",
    ),
    counts: db.prepare<{ metric: number; subject: string; count: number }, []>(
      `WITH sums AS MATERIALIZED (
         SELECT subject, metric, sum(amount) AS amount FROM delta_segments CROSS JOIN deltas USING (segment)
         GROUP BY subject, metric
       )
       SELECT metric, subject, count + coalesce(amount, 0) AS count FROM counts LEFT JOIN sums USING (subject, metric)
       UNION ALL
       SELECT metric, subject, amount FROM sums
       WHERE NOT EXISTS (SELECT 1 FROM counts WHERE counts.subject = sums.subject AND counts.metric = sums.metric)`,
    ),
    lastId: db.prepare<{ id: number | null }, []>("SELECT seq AS id FROM sqlite_sequence WHERE name = 'steps'"),
    rename: db.prepare<never, [string, string, number, number]>(
      "INSERT INTO step_subjects (subject, becomes, up_to, at_s) VALUES (?, ?, ?, ?)",
    ),
    add: db.prepare<never, [number, number, Uint8Array]>("INSERT INTO steps (at, is_hour, frame) VALUES (?, ?, ?)"),
    dropChanges: db.prepare<never, [number]>("DELETE FROM changes WHERE position <= ?"),
    steps: db.prepare<{ id: number; frame: Uint8Array }, [number, number]>(
      "SELECT id, frame FROM steps WHERE is_hour IN (0, 1) AND at >= ? AND at < ? ORDER BY id",
    ),
    oldest: db.prepare<{ at: number | null }, [number]>("SELECT min(at) AS at FROM steps WHERE is_hour = 0 AND at < ?"),
    dropHour: db.prepare<never, [number, number]>("DELETE FROM steps WHERE is_hour IN (0, 1) AND at >= ? AND at < ?"),
    forget: db.prepare<never, [number, number]>(
      "DELETE FROM steps WHERE id IN (SELECT id FROM steps WHERE is_hour IN (0, 1) AND at < ? LIMIT ?)",
    ),
    forgetRenames: db.prepare<never, [number]>("DELETE FROM step_subjects WHERE at_s < ?"),
  };
}
