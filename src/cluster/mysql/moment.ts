import type { Stamp } from "../../arithmetic/stamp.ts";
import type { CountName, RegisterName } from "../../ports/hot-store.ts";
import type { LedgerMoment } from "../ledger.ts";
import { KEYS, keyOf } from "./apply.ts";
import type { LedgerConnection, Row } from "./connection.ts";
import { nameOf, sorted } from "./found.ts";
import { inParts, registersIn } from "./read-sql.ts";
import { hexSql, idOf, idSql, numbersSql, rowsSql, wholeSql } from "./sql.ts";

/** Counts and the version of their shards; of one moment where `ask` is that of one transaction. */
export function basesOf(
  ask: (sql: string) => Promise<Row[]>,
  counts: readonly (CountName & { shard: number })[],
): Promise<LedgerMoment["bases"]> {
  return inParts(counts, async (part) => {
    const shards = new Set(part.map(({ shard }) => shard));
    const names = rowsSql(part, ({ subject, metric }) => `(${idSql(subject)},${wholeSql(metric)})`);
    const rows = await ask(
      `SELECT name, NULL, NULL FROM incarnations WHERE id = 1
       UNION ALL SELECT NULL, shard, version FROM shards WHERE shard IN (${numbersSql(shards)})
       UNION ALL SELECT subject, metric, count FROM counts FORCE INDEX (PRIMARY)
       WHERE (subject, metric) IN (${names})`,
    );
    const incarnation = idOf(rows.find(([name, second]) => name !== null && second === null)?.[0] as Buffer);
    const { versions, found } = sorted(rows, 1);
    return part.map((name) => {
      return { count: found.get(nameOf(name)) ?? 0, incarnation, version: versions.get(name.shard) ?? 0 };
    });
  });
}

/** Registers, 0: never was. */
export function stampsOf(connection: LedgerConnection, registers: readonly RegisterName[]): Promise<Stamp[]> {
  return inParts(registers, async (part) => {
    const { found } = sorted(await connection.ask(registersIn(part)), 2);
    return part.map((register) => found.get(nameOf(register)) ?? 0);
  });
}

/** Whether each key has been taken. */
export function storedKeys(connection: LedgerConnection, keys: readonly string[]): Promise<boolean[]> {
  return inParts(keys, async (part) => {
    const rows = await connection.ask(`${KEYS} WHERE \`key\` IN (${rowsSql(part, hexSql)})`);
    const found = new Set(rows.map((row) => keyOf(row).key));
    return part.map((key) => found.has(key));
  });
}
