import { Turns } from "../../lib/turns.ts";
import type { MilestoneBox, Untold } from "../../ports/milestones.ts";
import { LedgerConnection, PATIENT, type Row } from "./connection.ts";
import { idOf, idSql, wholeSql } from "./sql.ts";

/**
 * For the takers of all nodes: what one takes is due again only when its lease is over. It is taken under the rows' locks, and
 * these are asked for only where something is due, so that idle nodes do not wait for each other.
 */
export class MysqlMilestoneBox implements MilestoneBox {
  readonly #url: string;
  readonly #turns = new Turns();
  #connection: LedgerConnection | null = null;

  constructor(url: string) {
    this.#url = url;
  }

  take(url: string, now: { nowMs: number; leaseMs: number; limit: number }): Promise<Untold[]> {
    const isDue = `url = ${idSql(url)} AND due_ms <= ${wholeSql(now.nowMs)}`;
    const some = `ORDER BY due_ms LIMIT ${wholeSql(now.limit)}`;
    return this.#use(async (connection) => {
      const seen = await connection.ask(
        `SELECT subject, metric, name, threshold, url, count, at_ms, tries
         FROM milestones JOIN metrics ON metrics.id = metric WHERE ${isDue} ${some}`,
      );
      if (seen.length === 0) return [];
      await connection.write("BEGIN");
      const locked = await connection.ask(
        `SELECT subject, metric, threshold FROM milestones WHERE ${isDue} ${some} FOR UPDATE`,
      );
      const free = new Set(
        locked.map(([subject, metric, threshold]) => `${metric} ${threshold} ${idOf(subject as Buffer)}`),
      );
      const taken = seen
        .map(untoldOf)
        .filter(({ subject, metric, threshold }) => free.has(`${metric} ${threshold} ${subject}`));
      for (const milestone of taken)
        await connection.write(
          `UPDATE milestones SET due_ms = ${wholeSql(now.nowMs + now.leaseMs)} WHERE ${isSql(milestone)}`,
        );
      await connection.write("COMMIT");
      return taken;
    });
  }

  async settle(milestone: Untold, dueMs: number | null): Promise<void> {
    const due = dueMs === null ? "NULL" : wholeSql(dueMs);
    await this.#use((connection) =>
      connection.write(`UPDATE milestones SET tries = tries + 1, due_ms = ${due} WHERE ${isSql(milestone)}`),
    );
  }

  async waiting(): Promise<number> {
    const rows = await this.#use((connection) =>
      connection.ask("SELECT count(*) FROM milestones WHERE due_ms IS NOT NULL"),
    );
    return Number(rows[0]?.[0] ?? 0);
  }

  close(): void {
    this.#connection?.close();
  }

  /** One after the other; what an error leaves open goes with its connection. */
  async #use<T>(work: (connection: LedgerConnection) => Promise<T>): Promise<T> {
    const done = await this.#turns.take("connection");
    try {
      if (!this.#connection?.isOpen) this.#connection = await LedgerConnection.open(this.#url, PATIENT);
      return await work(this.#connection);
    } catch (error) {
      this.#connection?.close();
      throw error;
    } finally {
      done();
    }
  }
}

function isSql({ subject, metric, threshold, url }: Untold): string {
  return `subject = ${idSql(subject)} AND metric = ${wholeSql(metric)} AND threshold = ${wholeSql(threshold)}
    AND url = ${idSql(url)}`;
}

function untoldOf([subject, metric, name, threshold, url, count, atMs, tries]: Row): Untold {
  return {
    subject: idOf(subject as Buffer),
    metric: Number(metric),
    name: idOf(name as Buffer),
    threshold: Number(threshold),
    url: idOf(url as Buffer),
    count: Number(count),
    atMs: Number(atMs),
    tries: Number(tries),
  };
}
