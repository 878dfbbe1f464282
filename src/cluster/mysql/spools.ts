import type { LedgerConnection } from "./connection.ts";
import { type PoolOptions, ReadPool } from "./pool.ts";
import { idSql } from "./sql.ts";

/** A row that was not renewed for so long counts no more: a node that died must not hold the others up for ever. */
export const SPOOL_MS = 15_000;

/** By the clock of the server, which all have in common. */
const LONG_AGO = `NOW(3) - INTERVAL ${SPOOL_MS / 1000} SECOND`;

/** Whether a node has acts on its disk that Kafka has not, and says so. */
export async function hasSpools(connection: LedgerConnection): Promise<boolean> {
  const rows = await connection.ask(`SELECT 1 FROM spools WHERE at > ${LONG_AGO} LIMIT 1`);
  return rows.length > 0;
}

/** Where a node says that it has a spool. Rejects with LedgerUnavailable, at once while MySQL is known to be away. */
export class SpoolRows {
  readonly #pool: ReadPool;

  constructor(url: string, options: Pick<PoolOptions, "away"> = {}) {
    this.#pool = new ReadPool(url, { ...options, connections: 1 });
  }

  async renew(id: string): Promise<void> {
    await this.#pool.use((connection) =>
      connection.write(
        `INSERT INTO spools (id, at) VALUES (${idSql(id)}, NOW(3)) ON DUPLICATE KEY UPDATE at = VALUES(at)`,
      ),
    );
  }

  /** Those, and all that count no more. */
  async remove(ids: readonly string[]): Promise<void> {
    await this.#pool.use((connection) =>
      connection.write(`DELETE FROM spools WHERE id IN (${ids.map(idSql).join(",")}) OR at <= ${LONG_AGO}`),
    );
  }

  close(): void {
    this.#pool.close();
  }
}
