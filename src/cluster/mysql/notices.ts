import type { LedgerConnection } from "./connection.ts";
import { type PoolOptions, ReadPool } from "./pool.ts";
import { idSql } from "./sql.ts";

/** A row that was not renewed for so long counts no more: a node that died must not hold the others up for ever. */
export const NOTICE_MS = 15_000;

/** By the clock of the server, which all have in common. */
const LONG_AGO = `NOW(3) - INTERVAL ${NOTICE_MS / 1000} SECOND`;

/** What a node may tell of its acts (`Notice`), each kind in a table of that name. */
export type NoticeKind = "spools" | "unseen";

/** Whether a node has such acts, and says so. */
export async function hasNotices(connection: LedgerConnection, kind: NoticeKind): Promise<boolean> {
  const rows = await connection.ask(`SELECT 1 FROM ${kind} WHERE at > ${LONG_AGO} LIMIT 1`);
  return rows.length > 0;
}

/** Where a node gives its notices of a kind. Rejects with LedgerUnavailable, at once while MySQL is known to be away. */
export class NoticeRows {
  readonly #kind: NoticeKind;
  readonly #pool: ReadPool;

  constructor(url: string, kind: NoticeKind, options: Pick<PoolOptions, "away"> = {}) {
    this.#kind = kind;
    // A notice must not wait for one that is taken away.
    this.#pool = new ReadPool(url, { ...options, connections: 2 });
  }

  async renew(id: string): Promise<void> {
    await this.#pool.use((connection) =>
      connection.write(
        `INSERT INTO ${this.#kind} (id, at) VALUES (${idSql(id)}, NOW(3)) ON DUPLICATE KEY UPDATE at = VALUES(at)`,
      ),
    );
  }

  /** Those, and all that count no more. */
  async remove(ids: readonly string[]): Promise<void> {
    await this.#pool.use((connection) =>
      connection.write(`DELETE FROM ${this.#kind} WHERE id IN (${ids.map(idSql).join(",")}) OR at <= ${LONG_AGO}`),
    );
  }

  close(): void {
    this.#pool.close();
  }
}
