import { HOUR_S, hourOf } from "../../arithmetic/windows.ts";
import { LedgerUnavailable } from "../../ports/ledger.ts";
import type { Beginning, Renamed, StepFrame, Steps, StoredFrame } from "../../ports/steps.ts";
import type { LedgerConnection, Row } from "./connection.ts";
import { hexSql, idOf, idSql, wholeSql } from "./sql.ts";

/** Rows read at once: frames are a megabyte at most. */
const FRAMES = 16;
const COUNTS = 20_000;
const FORGET_ROWS = 16;

/** The steps in the MySQL ledger, on the one connection of the ranker that leads: nobody else moves changes into them. */
export class MysqlSteps implements Steps {
  readonly #connection: LedgerConnection;
  /** By partition: up to where changes were told. */
  readonly #told = new Map<number, number>();

  constructor(connection: LedgerConnection) {
    this.#connection = connection;
  }

  async begin(from: number, beginning: Beginning): Promise<void> {
    const connection = this.#connection;
    await connection.write("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    await connection.write("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    const renamed = await connection.ask("SELECT subject, becomes, up_to FROM step_subjects ORDER BY id");
    beginning.renamed(renamed.map(renamedOf));
    await eachStep(connection, from, (row) => beginning.step(frameOf(row), Number(row[2]) === 1));
    this.#told.clear();
    for (const [partition, ranked] of await connection.ask("SELECT part, n FROM ranked")) {
      this.#told.set(Number(partition), Number(ranked));
    }
    for (let frames = await this.changes(); frames.length > 0; frames = await this.changes()) {
      for (const frame of frames) beginning.change(frame);
    }
    await this.#beginCounts(beginning);
    await connection.write("COMMIT");
  }

  async #beginCounts(beginning: Beginning): Promise<void> {
    for (let place: { subject: string; metric: number } | null = null; ; ) {
      const subject: string = idSql(place?.subject ?? "");
      const metric: string = wholeSql(place?.metric ?? 0);
      const rows: Row[] = await this.#connection.ask(
        `SELECT metric, subject, count FROM counts FORCE INDEX (PRIMARY)
         WHERE subject >= ${subject} AND (subject > ${subject} OR metric > ${metric}) ORDER BY subject, metric LIMIT ${COUNTS}`,
      );
      const areMoreNeeded = rows.every(([metric, subject, count]) =>
        beginning.count(Number(metric), idOf(subject as Buffer), Number(count)),
      );
      const last = rows.at(-1);
      if (!last || !areMoreNeeded) return;
      place = { subject: idOf(last[1] as Buffer), metric: Number(last[0]) };
    }
  }

  /** A partition that is new since has no `told` yet. */
  async changes(): Promise<Buffer[]> {
    await this.#refuseOlder();
    const places = Array.from(this.#told, ([partition, n]) => `(part = ${wholeSql(partition)} AND n > ${wholeSql(n)})`);
    const known = [...this.#told.keys()].map(wholeSql).join(",");
    const others = known === "" ? "TRUE" : `part NOT IN (${known})`;
    // The index by id has the key, and nothing of the frames.
    const rows = await this.#connection.ask(
      `SELECT part, n, frame FROM changes JOIN (SELECT id, part, n FROM changes FORCE INDEX (changes_by_id)
       WHERE ${[...places, others].join(" OR ")} ORDER BY id LIMIT ${FRAMES}) AS next USING (part, n) ORDER BY next.id`,
    );
    return rows.map(([partition, n, frame]) => {
      this.#told.set(Number(partition), Number(n));
      return frame as Buffer;
    });
  }

  async save(frames: readonly StepFrame[], renames: readonly [subject: string, becomes: string][]): Promise<Renamed[]> {
    const connection = this.#connection;
    await connection.write("BEGIN");
    await this.#refuseOlder();
    const [row] = await connection.ask("SELECT COALESCE(MAX(id), 0) FROM steps");
    const upTo = Number(row?.[0] ?? 0);
    for (const [subject, becomes] of renames) {
      await connection.write(
        `INSERT INTO step_subjects (subject, becomes, up_to, at_s)
         VALUES (${idSql(subject)}, ${idSql(becomes)}, ${wholeSql(upTo)}, UNIX_TIMESTAMP())`,
      );
    }
    for (const frame of frames) await addStep(connection, frame, 0);
    for (const [partition, n] of this.#told) {
      await connection.write(
        `INSERT INTO ranked (part, n) VALUES (${wholeSql(partition)}, ${wholeSql(n)}) ON DUPLICATE KEY UPDATE n = VALUES(n)`,
      );
      await connection.write(`DELETE FROM changes WHERE part = ${wholeSql(partition)} AND n <= ${wholeSql(n)}`);
    }
    await connection.write("COMMIT");
    return renames.map(([subject, becomes]) => ({ subject, becomes, upTo }));
  }

  /**
   * A ledger that was restored beside running servers has not made the changes that were told, and its projector brings them
   * again: they would be kept twice. Who hears of it begins anew.
   */
  async #refuseOlder(): Promise<void> {
    const rows = await this.#connection.ask("SELECT number, changes FROM partitions");
    const made = new Map(rows.map(([partition, n]) => [Number(partition), Number(n)]));
    for (const [partition, n] of this.#told) {
      if ((made.get(partition) ?? 0) >= n) continue;
      throw new LedgerUnavailable(`MySQL: the ledger is older than what was ranked of partition ${partition}`);
    }
  }

  async read(from: number, to: number): Promise<StoredFrame[]> {
    const rows = await this.#connection.ask(
      `SELECT id, frame FROM steps WHERE is_hour IN (0, 1) AND at >= ${wholeSql(from)} AND at < ${wholeSql(to)} ORDER BY id`,
    );
    return rows.map(frameOf);
  }

  async oldHour(before: number): Promise<number | null> {
    const [row] = await this.#connection.ask(
      `SELECT MIN(at) FROM steps WHERE is_hour = 0 AND at < ${wholeSql(hourOf(before))}`,
    );
    const at = row?.[0] ?? null;
    return at === null ? null : hourOf(Number(at));
  }

  async replaceHour(hour: number, frames: readonly Buffer[]): Promise<void> {
    await this.#connection.write("BEGIN");
    await this.#connection.write(
      `DELETE FROM steps WHERE is_hour IN (0, 1) AND at >= ${wholeSql(hour)} AND at < ${wholeSql(hour + HOUR_S)}`,
    );
    for (const frame of frames) await addStep(this.#connection, { at: hour, frame }, 1);
    await this.#connection.write("COMMIT");
  }

  async forget(before: number): Promise<boolean> {
    await this.#connection.write(`DELETE FROM step_subjects WHERE at_s < ${wholeSql(before)}`);
    const { affectedRows } = await this.#connection.write(
      `DELETE FROM steps WHERE is_hour IN (0, 1) AND at < ${wholeSql(before)} LIMIT ${FORGET_ROWS}`,
    );
    return affectedRows > 0;
  }

  close(): void {
    this.#connection.close();
  }
}

/** The steps from `from` on, as long as `visit` wants more: their ids, frames and whether they are hours. */
export async function eachStep(
  connection: LedgerConnection,
  from: number,
  visit: (row: Row) => boolean,
): Promise<void> {
  for (let after = 0; ; ) {
    const rows = await connection.ask(
      `SELECT id, frame, is_hour FROM steps FORCE INDEX (PRIMARY) WHERE id > ${wholeSql(after)} AND at >= ${wholeSql(from)}
       ORDER BY id LIMIT ${FRAMES}`,
    );
    const areMoreNeeded = rows.every(visit);
    if (rows.length === 0 || !areMoreNeeded) return;
    after = Number(rows.at(-1)?.[0]);
  }
}

export async function addStep(connection: LedgerConnection, { at, frame }: StepFrame, isHour: 0 | 1): Promise<void> {
  const values = `${wholeSql(at)}, ${isHour}, ${hexSql(frame.toString("hex"))}`;
  await connection.write(`INSERT INTO steps (at, is_hour, frame) VALUES (${values})`);
}

export function frameOf([id, frame]: Row): StoredFrame {
  return { id: Number(id), frame: frame as Buffer };
}

export function renamedOf([subject, becomes, upTo]: Row): Renamed {
  return { subject: idOf(subject as Buffer), becomes: idOf(becomes as Buffer), upTo: Number(upTo) };
}
