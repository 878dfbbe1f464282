import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import journal from "../../drizzle/sqlite/meta/_journal.json" with { type: "json" };
import { FrameSource, LedgerModel, LIKES, VIEWS } from "../../test/support/ledger-model.ts";
import { StartError } from "../errors.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { KindContradiction } from "../ports/metric-numbers.ts";
import { BatchBuilder } from "../projector/batch.ts";
import { checkLedger, repairLedger } from "./check.ts";
import { Filters } from "./filters.ts";
import { openWriting, SqliteLedgerWriter } from "./ledger.ts";
import { ensureMetrics, ensureMetricsBeside, prepareLedger, shareLedger } from "./open-ledger.ts";
import { SqliteLedgerReader } from "./reads.ts";

const BOUNDS = { segmentRows: 40, totalsFrom: 3, deltas: { segmentRows: 30, foldFrom: 2 } };
const NOW_MS = Date.UTC(2026, 10, 20, 12);
let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-ledger-"));
  path = join(folder, "ledger.db");
});
afterEach(() => rmSync(folder, { recursive: true }));

function rows<T>(sql: string, at = path): T[] {
  const db = new Database(at, { readonly: true });
  try {
    return db.query<T, []>(sql).all();
  } finally {
    db.close(true);
  }
}

function change(sql: string): void {
  const db = openWriting(path);
  db.run(sql);
  db.close(true);
}

/** A ledger with some thousand random records in small segments, and what it must say. */
function filled(seed: number, rounds = 40) {
  prepareLedger(path);
  const source = new FrameSource(seed);
  const model = new LedgerModel();
  const share = shareLedger(path, seed);
  const writer = new SqliteLedgerWriter(path, share, BOUNDS);
  for (let round = 0; round < rounds; round++) {
    const builder = new BatchBuilder(writer);
    for (let i = 0; i < 20; i++) {
      const frame = source.next();
      model.apply(frame, model.position + 1);
      builder.add(frame, model.position);
    }
    writer.apply(builder.finish(NOW_MS));
    for (let slice = round % 4; slice > 0; slice--) writer.tidy(NOW_MS);
  }
  return { source, model, writer, share };
}

describe("the schema", () => {
  test("is made from an empty folder, and again changes nothing", () => {
    prepareLedger(path);
    const made = rows<{ sql: string }>("SELECT name, sql FROM sqlite_schema ORDER BY name");
    const position = rows("SELECT * FROM position");
    prepareLedger(path);
    prepareLedger(path, false);
    expect(rows("SELECT name, sql FROM sqlite_schema ORDER BY name")).toEqual(made);
    expect(rows("SELECT * FROM position")).toEqual(position);
    expect(rows("PRAGMA page_size")).toEqual([{ page_size: 16384 }]);
    expect(rows("PRAGMA journal_mode")).toEqual([{ journal_mode: "wal" }]);
  });

  test("of every table with a key of its own is WITHOUT ROWID, which drizzle-kit does not write by itself", () => {
    prepareLedger(path);
    for (const { sql } of rows<{ sql: string }>("SELECT sql FROM sqlite_schema WHERE sql LIKE '%PRIMARY KEY(%'")) {
      expect(sql).toContain("WITHOUT ROWID");
    }
  });

  test("is in the executable: each migration of the folder", () => {
    const files = readdirSync(join(import.meta.dir, "../../drizzle/sqlite")).filter((name) => name.endsWith(".sql"));
    expect(files.sort()).toEqual(journal.entries.map(({ tag }) => `${tag}.sql`).sort());
    prepareLedger(path);
    expect(rows("SELECT created_at AS at FROM __drizzle_migrations")).toEqual(
      journal.entries.map(({ when }) => ({ at: when })),
    );
  });

  test("is not changed where it must not be, and one of a newer version is refused", () => {
    expect(() => prepareLedger(path, false)).toThrow(StartError);
    prepareLedger(path);
    change("UPDATE __drizzle_migrations SET created_at = created_at + 1");
    expect(() => prepareLedger(path)).toThrow("newer version");
  });

  test("serves every list and look by an index, and sorts nothing", () => {
    const { share, writer } = filled(1, 2);
    const reader = new SqliteLedgerReader(path, share);
    const plans = reader.explain();
    expect(plans.length).toBeGreaterThan(5);
    for (const { sql, plan } of plans) {
      if (sql.includes("FROM keys")) continue; // once in a life of the server
      if (sql.includes("UNION ALL")) continue; // sorts the handful of counts of one subject
      expect([sql, plan]).toEqual([
        sql,
        expect.not.stringMatching(/SCAN (?!segments|delta_segments|CONSTANT)|TEMP B-TREE/),
      ]);
    }
    reader.close();
    writer.close();
  });
});

describe("metrics", () => {
  const views = { name: "views", kind: "tally" } as const;
  const likes = { name: "likes", kind: "relation" } as const;

  test("get numbers once, whatever comes and goes", () => {
    prepareLedger(path);
    expect(ensureMetrics(path, [views, likes])).toEqual([
      { id: 1, ...views },
      { id: 2, ...likes },
    ]);
    expect(ensureMetrics(path, [likes])).toEqual([{ id: 2, ...likes }]);
    const shares = { name: "shares", kind: "tally" } as const;
    expect(ensureMetrics(path, [shares, likes, views])).toEqual([
      { id: 3, ...shares },
      { id: 2, ...likes },
      { id: 1, ...views },
    ]);
  });

  test("of the other kind than their data are refused, all of them named, and nothing is stored", () => {
    prepareLedger(path);
    ensureMetrics(path, [views, likes]);
    const swapped = [
      { name: "new", kind: "tally" },
      { name: "likes", kind: "tally" },
      { name: "views", kind: "relation" },
    ] as const;
    expect(() => ensureMetrics(path, swapped)).toThrow(KindContradiction);
    expect(() => ensureMetrics(path, swapped)).toThrow(/likes is stored as a relation.*views is stored as a tally/);
    expect(rows("SELECT name FROM metrics").length).toBe(2);
  });

  test("are taken in beside one who writes, and nobody stands still meanwhile", async () => {
    prepareLedger(path);
    const other = openWriting(path);
    other.run("BEGIN IMMEDIATE");
    const taken = ensureMetricsBeside(path, [likes]);
    expect(await Promise.race([taken, Bun.sleep(50).then(() => "waiting")])).toBe("waiting");
    other.run("COMMIT");
    expect(await taken).toEqual([{ id: 1, ...likes }]);
    other.close(true);
    await expect(ensureMetricsBeside(join(folder, "none", "ledger.db"), [likes])).rejects.toThrow(StartError);
  });

  test("are at most 255", () => {
    prepareLedger(path);
    const many = Array.from({ length: 256 }, (_, i) => ({ name: `m${i}`, kind: "tally" as const }));
    expect(() => ensureMetrics(path, many)).toThrow("at most 255");
    expect(ensureMetrics(path, many.slice(0, 255)).at(-1)?.id).toBe(255);
  });
});

describe("the filters", () => {
  test("never deny what is there: while they are new, empty, half filled and full again", () => {
    const { writer, model, share } = filled(2);
    const deny = (filters: Filters) =>
      model.all().filter(({ actor, subject, metric }) => {
        filters.aim(actor, subject);
        const segments = [];
        for (let s = filters.nextHolding(0); s >= 0; s = filters.nextHolding(s + 1)) segments.push(s);
        const where = `actor = '${actor.replace("'", "''")}' AND subject = '${subject.replace("'", "''")}'`;
        const found = rows<{ segment: number }>(`SELECT segment FROM relations WHERE ${where} AND metric = ${metric}`);
        return (
          found.length !== 1 || !segments.includes(found[0]?.segment as number) || !filters.mayCount(metric, subject)
        );
      });
    const filters = new Filters(share);
    while (writer.tidy(NOW_MS));
    expect(filters.segmentCount).toBeGreaterThan(5);
    expect([deny(filters), filters.incomplete()]).toEqual([[], []]);
    const late = new BatchBuilder(writer);
    const record = {
      kind: "tally",
      shard: 1,
      n: 1,
      metric: VIEWS,
      subject: "article/late",
      amount: 1,
      atMs: NOW_MS,
    } as const;
    late.add({ source: "late", records: [{ ...record, slot: 0, notedAfter: 0 }] }, model.position + 1);
    writer.apply(late.finish(NOW_MS));
    writer.close();

    const again = shareLedger(path, 3);
    const fresh = new Filters(again);
    const next = new SqliteLedgerWriter(path, again, BOUNDS);
    expect([deny(fresh), fresh.incomplete().length]).toEqual([[], filters.segmentCount]);
    for (let slice = 0; slice < 4; slice++) next.tidy(NOW_MS);
    expect(fresh.incomplete().length).toBeLessThan(filters.segmentCount);
    expect(deny(fresh)).toEqual([]);
    while (next.tidy(NOW_MS));
    expect([deny(fresh), fresh.incomplete()]).toEqual([[], []]);
    fresh.aim("nobody", "article/none");
    expect(fresh.nextHolding(0)).toBe(-1);
    expect([fresh.mayCount(VIEWS, "article/none"), fresh.mayCount(VIEWS, "article/late")]).toEqual([false, true]);
    next.close();
  });

  test("of closed segments are kept: the next start fills only the last one again", () => {
    const { writer, model, share } = filled(8);
    while (writer.tidy(NOW_MS));
    const before = new Filters(share);
    writer.close();
    const again = shareLedger(path);
    const filters = new Filters(again);
    expect([filters.seed, filters.segmentCount]).toEqual([before.seed, before.segmentCount]);
    expect(filters.incomplete()).toEqual([filters.segmentCount - 1]);
    const next = new SqliteLedgerWriter(path, again, BOUNDS);
    const reader = new SqliteLedgerReader(path, again);
    const wrong = () => model.all().filter((it) => reader.register(it.metric, it.subject, it.actor) !== it.stamp);
    expect(wrong()).toEqual([]);
    while (next.tidy(NOW_MS));
    expect([wrong(), filters.incomplete()]).toEqual([[], []]);
    let maybe = 0;
    for (let i = 0; i < 1000; i++) {
      filters.aim(`stranger ${i}`, "article/1");
      if (filters.nextHolding(0) >= 0) maybe++;
    }
    expect(maybe).toBeLessThan(50);
    reader.close();
    next.close();
  });

  test("that were kept and do not fit together are filled again from the rows", () => {
    const { writer, model } = filled(9);
    while (writer.tidy(NOW_MS));
    writer.close();
    for (const damage of [
      "DELETE FROM filters WHERE kind = 'group'",
      "DELETE FROM filters WHERE kind = 'segment' AND number = 1",
      "UPDATE filters SET seed = seed + 1 WHERE number = 2",
      "UPDATE filters SET covers = covers + 1 WHERE kind = 'group'",
      "UPDATE filters SET lines = lines - 1 WHERE kind = 'group'",
      "DELETE FROM filter_parts WHERE number = 3",
    ]) {
      change(damage);
      const share = shareLedger(path);
      const filters = new Filters(share);
      expect(filters.incomplete().length).toBe(filters.segmentCount);
      const reader = new SqliteLedgerReader(path, share);
      const next = new SqliteLedgerWriter(path, share, BOUNDS);
      while (next.tidy(NOW_MS));
      expect(filters.incomplete()).toEqual([]);
      expect(model.all().filter((it) => reader.register(it.metric, it.subject, it.actor) !== it.stamp)).toEqual([]);
      reader.close();
      next.close();
      expect(new Filters(shareLedger(path)).incomplete()).toEqual([filters.segmentCount - 1]);
    }
  });

  test("without room say maybe, and everything stays right", () => {
    const filters = new Filters({
      words: new SharedArrayBuffer(32 * 1024),
      ranges: new SharedArrayBuffer(16 * 1024),
      bits: new SharedArrayBuffer(64),
    });
    filters.addGroup(1000, true);
    filters.addSegment(1000, { stampMin: 1, stampMax: 2 }, true);
    filters.aim("a", "b");
    expect([filters.nextHolding(0), filters.nextHolding(1)]).toEqual([0, -1]);
    filters.hold(0);
    filters.setCountsComplete();
    expect(filters.holdCount(1, "a")).toBe(false);
    expect([filters.nextHolding(0), filters.mayCount(1, "b")]).toEqual([0, true]);
  });
});

describe("a check", () => {
  test("finds nothing in what was written in the usual way, under a reader and a writer too", () => {
    const { writer } = filled(4);
    expect([...checkLedger(path)]).toEqual([]);
    expect(rows<{ n: number }>("SELECT count(*) AS n FROM actors")[0]?.n).toBeGreaterThan(0);
    writer.close();
    expect([...checkLedger(path)]).toEqual([]);
  });

  test("finds each kind of difference, and mends it", () => {
    const { writer, model } = filled(5);
    writer.close();
    const whole = join(folder, "whole.db");
    copyFileSync(path, whole);
    const one = model.all().find(({ metric, stamp }) => metric === LIKES && stamp % 2 === 1);
    if (!one) throw new Error("no like");
    const [tally] = [...model.tallies.entries()];
    const [metric, tallySubject] = splitOnce(tally?.[0] as string);
    const [liked, subject] = [one.subject, tallySubject as string].map((id) => id.replaceAll("'", "''"));
    const firstStep = (metric: number) => `(SELECT at, subject, metric FROM history WHERE metric = ${metric} LIMIT 1)`;
    const damages: [what: string, sql: string][] = [
      ["count", `UPDATE counts SET count = count + 1 WHERE subject = '${liked}' AND metric = ${LIKES}`],
      ["count", `UPDATE counts SET count = count + 7 WHERE subject = '${subject}' AND metric = ${metric}`],
      ["count", `DELETE FROM counts WHERE subject = '${liked}' AND metric = ${LIKES}`],
      ["count", `INSERT INTO counts VALUES ('article/ghost', ${VIEWS}, 3)`],
      [
        "register",
        `INSERT INTO relations SELECT segment - 1, actor, subject, metric, stamp - 2 FROM relations WHERE segment = 3 LIMIT 1`,
      ],
      ["history", `UPDATE history SET amount = amount + 1 WHERE (at, subject, metric) = ${firstStep(LIKES)}`],
      ["history", `DELETE FROM history WHERE (at, subject, metric) = ${firstStep(LIKES)}`],
      ["count", `UPDATE history SET amount = amount + 1 WHERE (at, subject, metric) = ${firstStep(VIEWS)}`],
      ["segment", "UPDATE segments SET rows = rows + 1 WHERE segment = 2"],
      ["segment", "UPDATE segments SET stamp_max = stamp_min WHERE segment = 2"],
      [
        "actor total",
        "UPDATE actors SET count = count + 1 WHERE (actor, metric, type) = (SELECT actor, metric, type FROM actors LIMIT 1)",
      ],
    ];
    for (const [what, sql] of damages) {
      copyFileSync(whole, path);
      change(sql);
      const found = [...checkLedger(path)];
      expect([sql, found.map((it) => it.what)]).toEqual([sql, expect.arrayContaining([what])]);
      expect(repairLedger(path, found)).toEqual([]);
      expect([sql, ...checkLedger(path)]).toEqual([sql]);
    }
  });

  test("sees a damaged file", () => {
    const { writer } = filled(6);
    writer.close();
    const bytes = readFileSync(path);
    bytes.fill(7, 2 * 16384, 2 * 16384 + 200);
    writeFileSync(path, bytes);
    const found = [...checkLedger(path)];
    expect(found[0]).toMatchObject({ what: "file" });
  });
});

test("where the disk is full nothing is applied, and with room it goes on from there", () => {
  prepareLedger(path);
  const writer = new SqliteLedgerWriter(path, shareLedger(path), { segmentRows: 40 });
  const batch = (n: number) => {
    const builder = new BatchBuilder(writer);
    const records = Array.from({ length: 2000 }, (_, i) => {
      const shape = { kind: "relation", shard: 0, metric: LIKES, subject: "article/1" } as const;
      return { ...shape, n: (n - 1) * 2000 + i + 1, actor: `${n}-${i}`, stamp: 1001 + n * 5000 + i * 2 };
    });
    builder.add({ source: "a", records }, n);
    return builder.finish(NOW_MS);
  };
  writer.apply(batch(1));
  writer.limitPages(10);
  expect(() => writer.apply(batch(2))).toThrow(LedgerUnavailable);
  expect(() => writer.apply(batch(2))).toThrow(LedgerUnavailable);
  expect(writer.position()).toBe(1);
  writer.limitPages(1_000_000);
  writer.apply(batch(2));
  expect(rows("SELECT sum(amount) AS count FROM deltas")).toEqual([{ count: 4000 }]);
  expect([...checkLedger(path)]).toEqual([]);
  writer.close();
});

function splitOnce(text: string): [string, string] {
  const at = text.indexOf(" ");
  return [text.slice(0, at), text.slice(at + 1)];
}
