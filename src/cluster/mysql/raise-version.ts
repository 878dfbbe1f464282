import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";
import { wholeSql } from "./sql.ts";

/** Makes every copy of the shard an old one: whoever has it brings it up to the ledger again. */
export async function raiseVersion(url: string, shard: number): Promise<void> {
  const connection = await LedgerConnection.open(url, PATIENT);
  try {
    await connection.write(`UPDATE shards SET version = version + 1 WHERE shard = ${wholeSql(shard)}`);
  } catch (error) {
    throw asUnavailable(error);
  } finally {
    connection.close();
  }
}
