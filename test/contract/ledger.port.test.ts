import { afterAll, beforeAll, describe } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MysqlServer } from "../../scripts/services/mysql.ts";
import { checkKeptSteps as checkMysql } from "../../src/cluster/mysql/check-steps.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import { prepareLedger as prepareMysql } from "../../src/cluster/mysql/open-ledger.ts";
import { MysqlLedgerReader } from "../../src/cluster/mysql/reads.ts";
import { checkKeptSteps as checkSqlite } from "../../src/embedded/check-steps.ts";
import { SqliteLedgerWriter } from "../../src/embedded/ledger.ts";
import { prepareLedger, shareLedger } from "../../src/embedded/open-ledger.ts";
import { SqliteLedgerReader } from "../../src/embedded/reads.ts";
import type { Batch, LedgerWriter } from "../../src/ports/ledger.ts";
import { BatchBuilder } from "../../src/projector/batch.ts";
import { type LedgerWorld, ledgerPort, type PlacedFrame } from "./ledger.port.ts";

ledgerPort(
  "SQLite",
  async ({ segmentRows, totalsFrom, foldFrom }) => {
    const bounds = { segmentRows, totalsFrom, deltas: { segmentRows, foldFrom } };
    const folder = mkdtempSync(join(tmpdir(), "tally-ledger-"));
    const path = join(folder, "ledger.db");
    const open = () => {
      prepareLedger(path);
      const share = shareLedger(path, 7);
      const writer = new SqliteLedgerWriter(path, share, bounds);
      return { close: () => writer.close(), writer: ofBatches(writer), reader: new SqliteLedgerReader(path, share) };
    };
    const close = () => {
      opened.reader.close();
      opened.close();
    };
    let opened = open();
    const world = {
      writer: opened.writer,
      reader: opened.reader,
      checkSteps: (nowMs: number) => checkSqlite(path, nowMs),
      async reopen() {
        close();
        opened = open();
        Object.assign(world, { writer: opened.writer, reader: opened.reader });
      },
      async close() {
        close();
        rmSync(folder, { recursive: true });
      },
    };
    return world;
  },
  { hasJobs: true },
);

/** A writer that is given batches decided by someone else, as embedded. */
function ofBatches(writer: LedgerWriter): LedgerWorld["writer"] {
  const fold = (frames: readonly PlacedFrame[], nowMs: number): Batch => {
    const builder = new BatchBuilder(writer);
    for (const [frame, next] of frames) builder.add(frame, next);
    return builder.finish(nowMs);
  };
  return {
    position: () => writer.position(),
    last: (source, shard) => writer.last(source, shard),
    apply: async (frames, nowMs) => writer.apply(fold(frames, nowMs)),
    async applySpoiled(frame, nowMs) {
      const batch = fold([frame], nowMs);
      batch.sources.push({ source: null as unknown as string, shard: 0, last: 1 });
      return writer.apply(batch);
    },
    makeDurable: () => writer.makeDurable(),
    tidy: (nowMs, isBusy) => writer.tidy(nowMs, isBusy),
  };
}

describe("MySQL", () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await MysqlServer.start({ durable: false });
  });
  afterAll(() => server.close());

  ledgerPort(
    "MySQL",
    async () => {
      const url = await server.createDatabase();
      const open = async () => {
        await prepareMysql(url);
        const reader = new MysqlLedgerReader(url, { partitions: 1 });
        return { writer: ofMessages(url, reader), reader };
      };
      const close = async () => {
        await opened.writer.close();
        opened.reader.close();
      };
      let opened = await open();
      const world = {
        writer: opened.writer,
        reader: opened.reader,
        checkSteps: (nowMs: number) => checkMysql(url, { repair: false, nowMs }),
        async reopen() {
          await close();
          opened = await open();
          Object.assign(world, { writer: opened.writer, reader: opened.reader });
        },
        close,
      };
      return world;
    },
    { hasJobs: true },
  );
});

/** The log's messages in one partition. */
function ofMessages(url: string, reader: MysqlLedgerReader) {
  let nowMs = 0;
  const writer = new MysqlLedgerWriter(url, { now: () => nowMs });
  const apply = (frames: readonly PlacedFrame[], atMs: number) => {
    nowMs = atMs;
    const messages = frames.map(([frame, next]) => ({ partition: 0, offset: next - 1, frame }));
    return writer.apply(messages, { topic: "t", acceptsGap: () => true });
  };
  return {
    apply,
    applySpoiled([{ source, records }, next]: PlacedFrame, atMs: number) {
      const first = records[0];
      if (!first) throw new Error("an empty frame");
      const record = { ...first, n: records.length + first.n, subject: `article/${"x".repeat(200)}` };
      return apply([[{ source, records: [...records, record] }, next]], atMs);
    },
    position: () => reader.position(),
    last: async (source: string, shard: number) =>
      (await reader.lastOf([source])).find((it) => it.shard === shard)?.last ?? 0,
    makeDurable: () => reader.position(),
    tidy: (atMs: number) => writer.tidy(atMs),
    close: () => writer.close(),
  };
}
