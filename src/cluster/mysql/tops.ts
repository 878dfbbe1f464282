import { TOP_LISTS_MAX } from "../../limits.ts";
import type { TopList } from "../../ports/rankings.ts";
import type { ListName } from "../../rankings/messages.ts";
import type { LedgerConnection } from "./connection.ts";
import { hexSql, idOf, idSql, lockSql, rowsSql, wholeSql } from "./sql.ts";

/** A list that no node was asked for so long is not worked out any more. */
const WANTED_S = 60;

/**
 * Whether this connection is the ranker's that leads, from now on and for as long as it lives: the server gives the lock to one
 * session, and takes it back when that ends. What a ranker writes it writes by that session, so one that was taken for dead
 * can write no more.
 */
export async function lead(connection: LedgerConnection): Promise<boolean> {
  const [row] = await connection.ask(`SELECT GET_LOCK(${lockSql("ranker")}, 0)`);
  return row?.[0] === 1;
}

/** The lists that are wanted. `forgets`: all others are forgotten. */
export async function wantedTops(connection: LedgerConnection, forgets: boolean): Promise<ListName[]> {
  if (forgets) {
    await connection.write(`DELETE FROM top_wanted WHERE at < NOW(3) - INTERVAL ${WANTED_S} SECOND`);
    await connection.write(
      `DELETE top_lists FROM top_lists LEFT JOIN top_wanted USING (metric, type, ranking) WHERE top_wanted.at IS NULL`,
    );
  }
  const rows = await connection.ask(
    `SELECT metric, type, ranking FROM top_wanted ORDER BY at DESC LIMIT ${wholeSql(TOP_LISTS_MAX)}`,
  );
  const wanted = rows.map(([metric, type, window]) => ({
    metric: Number(metric),
    type: idOf(type as Buffer),
    window: Number(window),
  }));
  // What is beyond the bound is not kept up to date: nobody may read it.
  if (wanted.length === TOP_LISTS_MAX) {
    await connection.write(
      `DELETE FROM top_lists WHERE (metric, type, ranking) NOT IN (${rowsSql(wanted, (name) => `(${nameSql(name)})`)})`,
    );
  }
  return wanted;
}

function nameSql({ metric, type, window }: ListName): string {
  return `${wholeSql(metric)}, ${idSql(type)}, ${wholeSql(window)}`;
}

/** Stores lists, and, with all of them, that they are as they should be. */
export async function storeTops(connection: LedgerConnection, lists: readonly [ListName, TopList][]): Promise<void> {
  await connection.write("BEGIN");
  for (const [name, list] of lists) {
    const json = hexSql(Buffer.from(JSON.stringify(list)).toString("hex"));
    await connection.write(
      `INSERT INTO top_lists (metric, type, ranking, list)
       VALUES (${nameSql(name)}, ${json}) ON DUPLICATE KEY UPDATE list = VALUES(list)`,
    );
  }
  await connection.write(
    "INSERT INTO rankers (id, current_at) VALUES (1, NOW(3)) ON DUPLICATE KEY UPDATE current_at = VALUES(current_at)",
  );
  await connection.write("COMMIT");
}

/** A list with its age; null where the leader has not seen yet that it is wanted. */
export async function readTop(
  connection: LedgerConnection,
  { metric, type, window }: ListName,
): Promise<{ list: TopList; ageMs: number } | null> {
  const [row] = await connection.ask(
    `SELECT list, TIMESTAMPDIFF(MICROSECOND, current_at, NOW(3)) / 1000 FROM top_lists JOIN rankers ON rankers.id = 1
     WHERE metric = ${wholeSql(metric)} AND type = ${idSql(type)} AND ranking = ${wholeSql(window)}`,
  );
  if (!row) return null;
  return { list: JSON.parse(idOf(row[0] as Buffer)) as TopList, ageMs: Number(row[1]) };
}

export async function wantTop(connection: LedgerConnection, name: ListName): Promise<void> {
  await connection.write(
    `INSERT INTO top_wanted (metric, type, ranking, at)
     VALUES (${nameSql(name)}, NOW(3)) ON DUPLICATE KEY UPDATE at = VALUES(at)`,
  );
}
