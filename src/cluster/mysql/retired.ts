import { SHARDS } from "../../arithmetic/shard.ts";
import type { SourceState } from "../../ports/ledger.ts";
import type { LedgerConnection, Row } from "./connection.ts";
import type { LastNumbers } from "./fold.ts";
import { unpackLast } from "./packed-last.ts";
import { idOf, idSql, rowsSql } from "./sql.ts";

/*
 * A source's last number on a shard is that of its row in `sources`; where it has none there, the one that was packed when
 * it retired; else 0. Whoever asks in two statements asks for the rows first: a source that retires in between is found
 * packed then, while the other way round it would be found nowhere, and all that it ever said would count once more.
 */

const SOURCES = 500;

/** For rows of both tables in one statement, which sees both as of one moment. */
export function statesSql(sources: readonly string[]): string {
  const among = `source IN (${rowsSql(sources, idSql)})`;
  return `SELECT source, shard, last, NULL FROM sources WHERE ${among}
    UNION ALL SELECT source, NULL, NULL, last FROM retired WHERE ${among}`;
}

/** Of the rows of `statesSql`. */
export function statesOf(rows: readonly Row[]): SourceState[] {
  const states: SourceState[] = [];
  const has = new Set<string>();
  for (const [source, shard, last, packed] of rows) {
    if (packed !== null) continue;
    const name = idOf(source as Buffer);
    has.add(`${shard} ${name}`);
    states.push({ source: name, shard: Number(shard), last: Number(last) });
  }
  for (const [source, , , packed] of rows) {
    if (packed === null) continue;
    const name = idOf(source as Buffer);
    for (const [shard, last] of unpackLast(packed as Buffer).entries()) {
      if (last > 0 && !has.has(`${shard} ${name}`)) states.push({ source: name, shard, last });
    }
  }
  return states;
}

/** The last numbers of those of the sources that have retired. */
export async function retiredOf(
  connection: LedgerConnection,
  sources: readonly string[],
): Promise<Map<string, Float64Array>> {
  const found = new Map<string, Float64Array>();
  for (let from = 0; from < sources.length; from += SOURCES) {
    const list = rowsSql(sources, idSql, from, from + SOURCES);
    const rows = await connection.ask(`SELECT source, last FROM retired WHERE source IN (${list})`);
    for (const [source, packed] of rows) found.set(idOf(source as Buffer), unpackLast(packed as Buffer));
  }
  return found;
}

/** Completes what the rows say, which must have been read before. */
export async function addRetired(
  connection: LedgerConnection,
  last: LastNumbers,
  sources: readonly string[],
): Promise<void> {
  for (const [source, packed] of await retiredOf(connection, sources)) {
    for (let shard = 0; shard < SHARDS; shard++) {
      const n = packed[shard] as number;
      if (n > 0 && last.get(source, shard) === 0) last.set(source, shard, n);
    }
  }
}
