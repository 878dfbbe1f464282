import { SHARDS } from "../../arithmetic/shard.ts";
import { UPLOAD } from "../../ports/bulk.ts";
import { asUnavailable, isLock, LedgerConnection, PATIENT } from "./connection.ts";
import { packLast, unpackLast } from "./packed-last.ts";
import { hexSql, idOf, idSql, numbersSql, wholeSql } from "./sql.ts";

/** Of one step: some 5 ms each. */
const SOURCES = 16;
const FORGET_UPLOADS = 1_000;

/** Behind every upload's name. */
const AFTER_UPLOADS = String.fromCharCode(UPLOAD.charCodeAt(0) + 1);

/** Of runs and of uploads: those of which nothing was applied since. */
export interface Quiet {
  runsBeforeMs: number;
  uploadsBeforeMs: number;
}

/**
 * Sources of which nothing has come for long go from up to 256 rows into one: the ledger knows as much of them as before, so
 * no version rises. Whatever still comes of one finds its numbers packed and gets rows of its own again (retired.ts).
 *
 * It locks nothing but the rows of the source it puts away, and no gap beside them: a record of it that is applied at the same
 * time has written its row before, and is packed with it, or makes a new one afterwards, which is not among those removed.
 * Several may do this at once: the second one finds nothing left.
 */
export class Retirement {
  readonly #url: string;
  readonly #now: () => number;
  #connection: LedgerConnection | null = null;
  /** Up to which source the walk has come. */
  #after = "";

  constructor(url: string, now: () => number = Date.now) {
    this.#url = url;
    this.#now = now;
  }

  /**
   * Looks at some sources, and puts away those of which nothing was applied for long: who they are. Null: the walk has come to
   * its end, and the next step begins another. Throws LedgerUnavailable where MySQL is away.
   */
  async step({ runsBeforeMs, uploadsBeforeMs }: Quiet): Promise<string[] | null> {
    return this.#use(async (connection) => {
      const names = await this.#next(connection);
      const retired: string[] = [];
      for (const name of names) {
        const beforeMs = name.startsWith(UPLOAD) ? uploadsBeforeMs : runsBeforeMs;
        if (await this.#retire(connection, name, beforeMs)) retired.push(name);
      }
      this.#after = names.at(-1) ?? "";
      return names.length > 0 ? retired : null;
    }, []);
  }

  /** Which of the sources have no row of that shard: they have retired, or were forgotten. */
  async rowless(shard: number, sources: readonly string[]): Promise<Set<string>> {
    return this.#use(async (connection) => {
      const rows = await connection.ask(`SELECT source FROM sources WHERE shard = ${wholeSql(shard)}`);
      await connection.write("COMMIT");
      const known = new Set(rows.map(([source]) => idOf(source as Buffer)));
      return new Set(sources.filter((source) => !known.has(source)));
    }, new Set());
  }

  /**
   * Forgets some uploads that retired before, for there is no end to them: what still came of one would count anew. How many.
   */
  async forgetUploads(beforeMs: number): Promise<number> {
    return this.#use(async (connection) => {
      const { affectedRows } = await connection.write(
        `DELETE FROM retired WHERE at_ms < ${wholeSql(beforeMs)} AND source >= ${idSql(UPLOAD)}
         AND source < ${idSql(AFTER_UPLOADS)} ORDER BY at_ms LIMIT ${FORGET_UPLOADS}`,
      );
      await connection.write("COMMIT");
      return affectedRows;
    }, 0);
  }

  close(): void {
    this.#connection?.close();
    this.#connection = null;
  }

  /** `later`: two wanted the same rows, it is for the next time. */
  async #use<T>(work: (connection: LedgerConnection) => Promise<T>, later: T): Promise<T> {
    try {
      this.#connection ??= await LedgerConnection.open(this.#url, PATIENT, false);
      return await work(this.#connection);
    } catch (error) {
      this.close();
      if (isLock(error)) return later;
      throw asUnavailable(error);
    }
  }

  async #next(connection: LedgerConnection): Promise<string[]> {
    const rows = await connection.ask(
      `SELECT DISTINCT source FROM sources FORCE INDEX (sources_by_name)
       WHERE source > ${idSql(this.#after)} ORDER BY source LIMIT ${SOURCES}`,
    );
    await connection.write("COMMIT");
    return rows.map(([source]) => idOf(source as Buffer));
  }

  /** One transaction. False: it is not to retire. */
  async #retire(connection: LedgerConnection, source: string, beforeMs: number): Promise<boolean> {
    const of = `source = ${idSql(source)}`;
    const [newest] = await connection.ask(`SELECT MAX(at_ms) FROM sources WHERE ${of}`);
    if (newest?.[0] === null || Number(newest?.[0]) >= beforeMs) return this.#leave(connection);
    const rows = await connection.ask(
      `SELECT shard, last, at_ms FROM sources FORCE INDEX (sources_by_name) WHERE ${of} ORDER BY shard FOR UPDATE`,
    );
    if (rows.length === 0 || rows.some(([, , atMs]) => Number(atMs) >= beforeMs)) return this.#leave(connection);
    const [known] = await connection.ask(`SELECT last FROM retired WHERE ${of} FOR UPDATE`);
    const last = known ? unpackLast(known[0] as Buffer) : new Float64Array(SHARDS);
    for (const [shard, n] of rows) last[Number(shard)] = Math.max(Number(n), last[Number(shard)] as number);
    const packed = hexSql(Buffer.from(packLast(last)).toString("hex"));
    await connection.write(
      `INSERT INTO retired (source, last, at_ms) VALUES (${idSql(source)}, ${packed}, ${wholeSql(this.#now())})
       ON DUPLICATE KEY UPDATE last = VALUES(last), at_ms = VALUES(at_ms)`,
    );
    const shards = numbersSql(rows.map(([shard]) => Number(shard)));
    await connection.write(`DELETE FROM sources WHERE ${of} AND shard IN (${shards})`);
    await connection.write("COMMIT");
    return true;
  }

  async #leave(connection: LedgerConnection): Promise<false> {
    await connection.write("ROLLBACK");
    return false;
  }
}
