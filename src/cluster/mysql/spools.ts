import type { LedgerConnection } from "./connection.ts";
import { ReadPool } from "./pool.ts";
import { idSql } from "./sql.ts";

/** A row that was not renewed for so long counts no more: a node that died must not hold the others up for ever. */
export const SPOOL_MS = 15_000;

/** The clock of them all. */
const NOW_MS = "ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000)";

/** Whether a node has acts on its disk that Kafka has not, and says so. */
export async function hasSpools(connection: LedgerConnection): Promise<boolean> {
  const rows = await connection.ask(`SELECT 1 FROM spools WHERE seen_ms > ${NOW_MS} - ${SPOOL_MS} LIMIT 1`);
  return rows.length > 0;
}

/** Where a node says that it has a spool. Rejects with LedgerUnavailable, at once while MySQL is known to be away. */
export class SpoolRows {
  readonly #pool: ReadPool;

  constructor(url: string) {
    this.#pool = new ReadPool(url, { connections: 1 });
  }

  async renew(id: string): Promise<void> {
    await this.#pool.use((connection) =>
      connection.write(
        `INSERT INTO spools (id, seen_ms) VALUES (${idSql(id)}, ${NOW_MS}) ON DUPLICATE KEY UPDATE seen_ms = ${NOW_MS}`,
      ),
    );
  }

  /** With those that count no more. */
  async remove(id: string): Promise<void> {
    await this.#pool.use((connection) =>
      connection.write(`DELETE FROM spools WHERE id = ${idSql(id)} OR seen_ms <= ${NOW_MS} - ${SPOOL_MS}`),
    );
  }

  close(): void {
    this.#pool.close();
  }
}
