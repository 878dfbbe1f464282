import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
import { shardOfSubject } from "../../src/arithmetic/shard.ts";
import type { LogMessage } from "../../src/cluster/mysql/messages.ts";
import { prepareLedger } from "../../src/cluster/mysql/open-ledger.ts";
import { MysqlLedgerReader } from "../../src/cluster/mysql/reads.ts";
import type { LogRecord, RecordOnce } from "../../src/records.ts";
import { MysqlServer } from "../support/services.ts";

export const VIEWS = 1;
export const LIKES = 2;
export const NOW_MS = Date.UTC(2026, 10, 20, 12);
export const TOPIC = { topic: "topic-1" };
export const PARTITIONS = 4;

export function shardOf(subject: string): number {
  const bytes = Buffer.from(subject);
  return shardOfSubject(bytes, bytes.length);
}

export function partitionOf(subject: string): number {
  return shardOf(subject) % PARTITIONS;
}

/** A subject of that shard, by trying. */
export function subjectIn(shard: number, skip = 0): string {
  for (let i = 0, left = skip; ; i++) {
    const subject = `article/${i}`;
    if (shardOf(subject) === shard && left-- === 0) return subject;
  }
}

export function like(n: number, subject: string, actor: string, stamp: number): LogRecord {
  return { kind: "relation", shard: shardOf(subject), n, metric: LIKES, subject, actor, stamp };
}

export function view(n: number, subject: string, amount: number, once?: RecordOnce): LogRecord {
  const shard = shardOf(subject);
  return { kind: "tally", shard, n, metric: VIEWS, subject, amount, atMs: NOW_MS, slot: 0, notedAfter: 0, once };
}

export function set(n: number, subject: string, count: number): LogRecord {
  return { kind: "set", shard: shardOf(subject), n, metric: VIEWS, subject, count, atMs: NOW_MS };
}

export function key(number: number, atMs = NOW_MS): RecordOnce {
  return { key: number.toString(16).padStart(32, "0"), body: "00112233445566ff", atMs };
}

export function message(offset: number, source: string, ...records: LogRecord[]): LogMessage {
  return { partition: partitionOf((records[0] as LogRecord).subject), offset, frame: { source, records } };
}

/** A MySQL of the file's own; for each test a new ledger in it, and its reader. */
export class OwnMysql {
  server!: MysqlServer;
  url!: string;
  reader!: MysqlLedgerReader;

  constructor() {
    beforeAll(async () => {
      this.server = await MysqlServer.start({ durable: false });
    }, 60_000);
    afterAll(() => this.server.close());
    beforeEach(async () => {
      this.url = await this.server.createDatabase();
      await prepareLedger(this.url);
      this.reader = new MysqlLedgerReader(this.url, { partitions: PARTITIONS });
    });
    afterEach(() => this.reader.close());
  }
}
