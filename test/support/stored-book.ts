import mysql from "mysql2/promise";
import { isActive, msOf, type Stamp } from "../../src/arithmetic/stamp.ts";
import type { Book } from "./book.ts";

/**
 * Compares MySQL's own rows, which no code of the server has read, with what the clients were told; the book must be exact. What
 * tests did to other subjects is theirs to know.
 */
export async function verifyStored(url: string, book: Book): Promise<void> {
  const connection = await mysql.createConnection(url);
  try {
    const rows = (sql: string) => connection.query<mysql.RowDataPacket[]>(sql).then(([found]) => found);
    const subjects = new Set([...book.views.keys(), ...book.keyed.keys()]);
    for (const { subject } of book.registers.values()) subjects.add(subject);
    const counts = new Map<string, number>();
    for (const row of await rows("SELECT name, subject, count FROM counts JOIN metrics ON id = metric"))
      if (row.count > 0 && subjects.has(String(row.subject)))
        counts.set(`${row.name} of ${row.subject}`, Number(row.count));
    const active = new Map<string, string>();
    for (const row of await rows("SELECT name, subject, actor, stamp FROM relations JOIN metrics ON id = metric")) {
      const stamp: Stamp = Number(row.stamp);
      if (isActive(stamp) && subjects.has(String(row.subject)))
        active.set(`${row.name} of ${row.subject} by ${row.actor}`, new Date(msOf(stamp)).toISOString());
    }
    const told = new Map<string, number>();
    for (const [subject, { acked }] of book.views) if (acked > 0) told.set(`views of ${subject}`, acked);
    for (const [subject, { acked }] of book.keyed) if (acked > 0) told.set(`shares of ${subject}`, acked);
    const acted = new Map<string, string>();
    for (const { metric, subject, actor, active, at } of book.registers.values()) {
      if (!active || at === null) continue;
      acted.set(`${metric} of ${subject} by ${actor}`, at);
      told.set(`${metric} of ${subject}`, (told.get(`${metric} of ${subject}`) ?? 0) + 1);
    }
    same(counts, told, book);
    same(active, acted, book);
  } finally {
    await connection.end();
  }
}

function same<T>(stored: ReadonlyMap<string, T>, told: ReadonlyMap<string, T>, book: Book): void {
  for (const name of new Set([...stored.keys(), ...told.keys()])) {
    const promise = () => `MySQL has ${stored.get(name)} for ${name}, not ${told.get(name)}`;
    book.must(stored.get(name) === told.get(name), promise);
  }
}
