import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KafkaServer } from "../support/services.ts";
import { row, settingsFor, startProducer, until } from "./kafka-support.ts";

let kafka: KafkaServer;

beforeAll(async () => {
  kafka = await KafkaServer.start();
}, 60_000);

afterAll(() => kafka.close());

describe("several members", () => {
  const folder = mkdtempSync(join(tmpdir(), "tally-kafka-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("share the partitions; one that is killed is replaced, and nothing is missing or out of order", async () => {
    const settings = settingsFor(kafka.brokers);
    const producer = await startProducer(settings);
    const path = join(folder, "ledger.sqlite");
    const db = new Database(path);
    db.run("PRAGMA journal_mode = WAL");
    db.run("CREATE TABLE positions (partition INTEGER PRIMARY KEY, position INTEGER NOT NULL)");
    db.run("CREATE TABLE applied (shard INTEGER, n INTEGER, isGap INTEGER, pid INTEGER, PRIMARY KEY (shard, n))");
    db.run("CREATE TABLE seen AS SELECT 0 AS again");
    const said = new Map<number, string>();
    const start = () => {
      const command = [
        process.execPath,
        join(import.meta.dir, "kafka-member.ts"),
        kafka.brokers,
        settings.prefix,
        path,
      ];
      const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
      void (async () => {
        for await (const chunk of child.stdout) said.set(child.pid, new TextDecoder().decode(chunk));
      })();
      return child;
    };
    const partitionsOf = (pid: number) => JSON.parse(/reading (\[.*?\])\n$/.exec(said.get(pid) ?? "")?.[1] ?? "[]");
    const first = start();
    await until(() => partitionsOf(first.pid).length === 16, "the first reads all");
    const second = start();
    let sent = 0;
    let isSending = true;
    const sending = (async () => {
      while (isSending) await producer.send(row(++sent));
    })();
    await until(() => partitionsOf(first.pid).length === 8 && partitionsOf(second.pid).length === 8, "they share");
    const appliedBy = (pid: number) =>
      (db.query("SELECT count(*) AS n FROM applied WHERE pid = ?").get(pid) as { n: number }).n;
    await until(() => appliedBy(second.pid) > 100, "the second applies");
    first.kill("SIGKILL");
    // The end of a session of 2 s, and a machine that has all of this to do at once.
    await until(() => partitionsOf(second.pid).length === 16, "the second reads all", 12_000);
    isSending = false;
    await sending;
    const count = () => (db.query("SELECT count(*) AS n FROM applied").get() as { n: number }).n;
    await until(() => count() === sent * 16, "all applied");
    expect(db.query("SELECT count(*) AS n FROM applied WHERE isGap = 1").get()).toEqual({ n: 0 });
    second.kill("SIGKILL");
    await Promise.all([first.exited, second.exited]);
    db.close();
    producer.close();
  }, 60_000);
});
