import type { Place } from "../../arithmetic/place.ts";
import { countDelta } from "../../arithmetic/register.ts";
import type { Stamp } from "../../arithmetic/stamp.ts";
import { Sketch } from "../../distinct/sketch.ts";
import type { SketchName, StoredPair } from "../../distinct/sketches.ts";
import { inSlices } from "../../lib/slices.ts";
import { KEYS_MS, KNOWN_SLICE_MS } from "../../limits.ts";
import type { Actor, Subject } from "../../model.ts";
import type { CountName, RegisterName, ShardVersion } from "../../ports/hot-store.ts";
import {
  type LedgerReader,
  LedgerUnavailable,
  type ShardState,
  type SourceState,
  type StoredKey,
} from "../../ports/ledger.ts";
import type { Position } from "../../ports/log.ts";
import type { TopList } from "../../ports/rankings.ts";
import type { ListName } from "../../rankings/messages.ts";
import type { KnownQuestion, LedgerMoment, SharedLedger } from "../ledger.ts";
import { KEYS, keyOf } from "./apply.ts";
import type { LedgerConnection, Row } from "./connection.ts";
import { type CountedRange, countedRows, countedSql } from "./counted.ts";
import { Floors, highestFloor } from "./floors.ts";
import { nameOf, sorted } from "./found.ts";
import { knownRows, knownSql } from "./known.ts";
import { basesOf, stampsOf, storedKeys } from "./moment.ts";
import { hasNotices, type NoticeKind } from "./notices.ts";
import { type PoolOptions, ReadPool, UNHURRIED } from "./pool.ts";
import { behind, countOf, inParts, ofActor, pagesOf, registersIn, sourceOf } from "./read-sql.ts";
import { retiredOf, statesOf, statesSql } from "./retired.ts";
import { sketchPairs } from "./sketches.ts";
import { hexSql, idOf, idSql, numbersSql, rowsSql, wholeSql } from "./sql.ts";
import { readTop, wantTop } from "./tops.ts";

/** Of a walk through a table. */
const PAGE_ROWS = 5_000;
/** How much later than its own time a key may have come into the ledger by the clocks of all. */
const CLOCKS_APART_MS = 60_000;

interface ReaderOptions extends PoolOptions {
  /** Of the log. A shard's is `shard % partitions`. */
  partitions: number;
}

/**
 * The ledger for those who ask. What has to be of one snapshot is one statement (InnoDB reads all of a statement as of
 * its begin), or, where it may become long, one transaction that only reads.
 */
export class MysqlLedgerReader implements LedgerReader, SharedLedger {
  readonly #pool: ReadPool;
  /** For what may take longer: who is refused by a deadline there does not make the others believe that MySQL is away. */
  readonly #unhurried: ReadPool;
  readonly #partitions: number;

  constructor(url: string, { partitions, ...options }: ReaderOptions) {
    this.#pool = new ReadPool(url, options);
    const { away } = options;
    const heard = away && { away: { ...away, isTeller: false } };
    this.#unhurried = new ReadPool(url, { ...options, ...heard, connections: 2, deadlines: UNHURRIED });
    this.#partitions = partitions;
  }

  /** Whether it is known that nothing can be asked now. */
  get isAway(): boolean {
    return this.#pool.isAway;
  }

  async hints(registers: readonly (RegisterName & { shard: number })[]): Promise<{ stamp: Stamp; version: number }[]> {
    return inParts(registers, async (part) => {
      const shards = new Set(part.map(({ shard }) => shard));
      const rows = await this.#ask(
        `SELECT NULL, NULL, shard, version FROM shards WHERE shard IN (${numbersSql(shards)})
         UNION ALL ${registersIn(part)}`,
      );
      const { versions, found } = sorted(rows, 2);
      return part.map((register) => {
        return { stamp: found.get(nameOf(register)) ?? 0, version: versions.get(register.shard) ?? 0 };
      });
    });
  }

  async *everyRegister(): AsyncGenerator<RegisterName[]> {
    const ask = (sql: string) => this.#unhurried.use((connection) => connection.ask(sql));
    const walk = { table: "relations", key: ["actor", "subject", "metric"], column: "stamp" };
    for await (const page of pagesOf(ask, walk, PAGE_ROWS)) {
      yield page.map(([actor, subject, metric]) => {
        return { metric: Number(metric), subject: idOf(subject as Buffer), actor: idOf(actor as Buffer) };
      });
    }
  }

  async floorOf(shard: number, actor: Actor): Promise<Stamp> {
    return this.#pool.use(async (connection) => (await Floors.of(connection, [actor])).at(shard, actor));
  }

  async erased(source: string): Promise<{ shard: number; n: number; metric: number; count: number }[]> {
    const rows = await this.#ask(`SELECT shard, n, metric, count FROM erased WHERE source = ${idSql(source)}`);
    return rows.map((row) => {
      const [shard, n, metric, count] = row.map(Number) as [number, number, number, number];
      return { shard, n, metric, count };
    });
  }

  hasNotices(kind: NoticeKind): Promise<boolean> {
    return this.#pool.use((connection) => hasNotices(connection, kind));
  }

  highestFloor(): Promise<Stamp> {
    return this.#pool.use(highestFloor);
  }

  bases(
    counts: readonly (CountName & { shard: number })[],
  ): Promise<{ count: number; incarnation: string; version: number }[]> {
    return basesOf((sql) => this.#ask(sql), counts);
  }

  moment({ counts, registers, keys, sources }: Parameters<SharedLedger["moment"]>[0]): Promise<LedgerMoment> {
    return this.#snapshot(async (connection) => ({
      bases: await basesOf((sql) => connection.ask(sql), counts),
      stamps: await stampsOf(connection, registers),
      stored: await storedKeys(connection, keys),
      last: await inParts(sources, async (part) => statesOf(await connection.ask(statesSql(part)))),
    }));
  }

  /**
   * A shard's version with registers and keys (`stored`: whether the ledger has it) as they are at that version. Of `sources`
   * it has the last numbers though they may have retired.
   */
  async versionOf(
    shard: number,
    registers: readonly RegisterName[] = [],
    keys: readonly string[] = [],
    sources: readonly string[] = [],
  ): Promise<{ version: ShardVersion; stamps: Stamp[]; stored: boolean[] }> {
    return this.#snapshot(async (connection) => {
      const partition = wholeSql(shard % this.#partitions);
      const [row] = await connection.ask(
        `SELECT name, version, (SELECT position FROM partitions WHERE number = ${partition})
         FROM shards JOIN incarnations ON id = 1 WHERE shard = ${wholeSql(shard)}`,
      );
      if (!row) throw new LedgerUnavailable(`MySQL: the table shards lacks ${shard}`);
      const rows = await connection.ask(`SELECT source, last FROM sources WHERE shard = ${wholeSql(shard)}`);
      const last = new Map(rows.map(([source, n]) => [idOf(source as Buffer), Number(n)]));
      const unknown = sources.filter((source) => !last.has(source));
      const retired = await retiredOf(connection, unknown);
      for (const source of unknown) last.set(source, retired.get(source)?.[shard] ?? 0);
      const stamps = await stampsOf(connection, registers);
      const stored = await storedKeys(connection, keys);
      const version: ShardVersion = {
        shard,
        incarnation: idOf(row[0] as Buffer),
        version: Number(row[1]),
        position: Number(row[2] ?? 0),
        last: [...last],
      };
      return { version, stamps, stored };
    });
  }

  async lastOf(sources: readonly string[]): Promise<SourceState[]> {
    return inParts(sources, async (part) => statesOf(await this.#ask(statesSql(part))));
  }

  async positions(): Promise<Map<number, number>> {
    const rows = await this.#ask("SELECT number, position FROM partitions ORDER BY number");
    return new Map(rows.map(([number, position]) => [Number(number), Number(position)]));
  }

  /** The names of counts behind a subject, in the order of subjects; whole subjects only. */
  async countNames(after: string, limit: number): Promise<CountName[]> {
    const rows = await this.#ask(
      `SELECT subject, metric FROM counts FORCE INDEX (PRIMARY) WHERE subject > ${idSql(after)} AND subject <=
       COALESCE((SELECT subject FROM counts FORCE INDEX (PRIMARY) WHERE subject > ${idSql(after)}
                 ORDER BY subject LIMIT 1 OFFSET ${wholeSql(limit)}), X'FF') ORDER BY subject`,
    );
    return rows.map(([subject, metric]) => ({ metric: Number(metric), subject: idOf(subject as Buffer) }));
  }

  async knownActors(
    question: KnownQuestion,
  ): Promise<{ listed: [RegisterName, Stamp][]; stored: [RegisterName, Stamp][] }> {
    const rows = await this.#unhurried.use((connection) => connection.ask(knownSql(question)));
    return inSlices(knownRows(rows), KNOWN_SLICE_MS);
  }

  async registersOfActor(actor: Actor, subjects: readonly Subject[]): Promise<[Subject, number, Stamp][]> {
    const rows = await inParts(subjects, (part) =>
      this.#ask(
        `SELECT subject, metric, stamp FROM relations FORCE INDEX (PRIMARY)
         WHERE actor = ${idSql(actor)} AND subject IN (${rowsSql(part, idSql)})`,
      ),
    );
    return rows.map(([subject, metric, stamp]) => [idOf(subject as Buffer), Number(metric), Number(stamp)]);
  }

  async countedSubjects(range: CountedRange): Promise<Map<Subject, [metric: number, count: number][]>> {
    return countedRows(await this.#ask(countedSql(range)));
  }

  /** Of which topic the positions are, by partition. */
  async topics(): Promise<Map<number, string>> {
    const rows = await this.#ask("SELECT number, topic FROM partitions ORDER BY number");
    return new Map(rows.map(([number, topic]) => [Number(number), idOf(topic as Buffer)]));
  }

  /** All partitions' positions together: it rises with every message. */
  async position(): Promise<Position> {
    const positions = await this.positions();
    return [...positions.values()].reduce((sum, position) => sum + position, 0);
  }

  /** Whether a webhook was ever told of a count. */
  async hasMilestones(): Promise<boolean> {
    return (await this.#ask("SELECT 1 FROM milestones LIMIT 1")).length > 0;
  }

  async incarnation(): Promise<string> {
    const [row] = await this.#ask("SELECT name FROM incarnations WHERE id = 1");
    if (!row) throw new LedgerUnavailable("MySQL: the table incarnations is empty");
    return idOf(row[0] as Buffer);
  }

  async count(metric: number, subject: Subject): Promise<number> {
    const [row] = await this.#ask(
      `SELECT count FROM counts WHERE subject = ${idSql(subject)} AND metric = ${wholeSql(metric)}`,
    );
    return Number(row?.[0] ?? 0);
  }

  async countsOf(subject: Subject): Promise<[metric: number, count: number][]> {
    const rows = await this.#ask(`SELECT metric, count FROM counts WHERE subject = ${idSql(subject)}`);
    return rows.map(([metric, count]) => [Number(metric), Number(count)]);
  }

  async register(metric: number, subject: Subject, actor: Actor): Promise<Stamp> {
    const [row] = await this.#ask(registersIn([{ metric, subject, actor }]));
    return Number(row?.[3] ?? 0);
  }

  async registersOf(subject: Subject, actor: Actor): Promise<[metric: number, stamp: Stamp][]> {
    const rows = await this.#ask(
      `SELECT metric, stamp FROM relations FORCE INDEX (PRIMARY)
       WHERE actor = ${idSql(actor)} AND subject = ${idSql(subject)}`,
    );
    return rows.map(([metric, stamp]) => [Number(metric), Number(stamp)]);
  }

  async newestActors(metric: number, subject: Subject, before: Place, limit: number): Promise<Place[]> {
    const rows = await this.#ask(
      `SELECT actor, stamp FROM relations FORCE INDEX (relations_by_subject)
       WHERE subject = ${idSql(subject)} AND metric = ${wholeSql(metric)} AND active = 1
       AND ${behind("actor", before)} ORDER BY stamp DESC, actor DESC LIMIT ${wholeSql(limit)}`,
    );
    return rows.map(([actor, stamp]) => ({ id: idOf(actor as Buffer), stamp: Number(stamp) }));
  }

  async newestSubjects(metric: number, actor: Actor, before: Place, limit: number, type?: string): Promise<Place[]> {
    const rows = await this.#ask(
      `SELECT subject, stamp FROM relations FORCE INDEX (relations_by_actor)
       WHERE ${ofActor(metric, actor, type)} AND ${behind("subject", before)}
       ORDER BY stamp DESC, subject DESC LIMIT ${wholeSql(limit)}`,
    );
    return rows.map(([subject, stamp]) => ({ id: idOf(subject as Buffer), stamp: Number(stamp) }));
  }

  async actorCount(metric: number, actor: Actor, type?: string): Promise<number> {
    const [row] = await this.#ask(countOf(metric, actor, type));
    return Number(row?.[0] ?? 0);
  }

  async actorCountWith(
    metric: number,
    actor: Actor,
    type: string | undefined,
    onTheWay: readonly { id: Subject; stamp: Stamp }[],
  ): Promise<number> {
    return this.#snapshot(async (connection) => {
      const [row] = await connection.ask(countOf(metric, actor, type));
      let count = Number(row?.[0] ?? 0);
      const registers = onTheWay
        .filter(({ id }) => type === undefined || id.startsWith(`${type}/`))
        .map(({ id, stamp }) => ({ metric, subject: id, actor, stamp }));
      await inParts(registers, async (part) => {
        const { found } = sorted(await connection.ask(registersIn(part)), 2);
        for (const register of part) {
          const stored = found.get(nameOf(register)) ?? 0;
          count += countDelta(stored, register.stamp);
        }
        return [];
      });
      return count;
    });
  }

  async history(metric: number, subject: Subject, from: number, to: number): Promise<[at: number, amount: number][]> {
    const rows = await this.#ask(
      `SELECT at, amount FROM history FORCE INDEX (PRIMARY) WHERE subject = ${idSql(subject)} AND metric = ${wholeSql(metric)}
       AND at >= ${wholeSql(from)} AND at < ${wholeSql(to)} AND amount <> 0 ORDER BY at`,
    );
    return rows.map(([at, amount]) => [Number(at), Number(amount)]);
  }

  async sketch(metric: number, subject: Subject, day: number): Promise<Sketch | null> {
    const [row] = await this.#ask(
      `SELECT sketch FROM sketches WHERE subject = ${idSql(subject)} AND metric = ${wholeSql(metric)} AND day = ${wholeSql(day)}`,
    );
    return row ? Sketch.decode(row[0] as Buffer) : null;
  }

  async sketches(names: readonly (SketchName & { day: number })[]): Promise<StoredPair[]> {
    return inParts(names, (part) => this.#pool.use((connection) => sketchPairs(connection, part)));
  }

  readTop(name: ListName): Promise<{ list: TopList; ageMs: number } | null> {
    return this.#pool.use((connection) => readTop(connection, name));
  }

  wantTop(name: ListName): Promise<void> {
    return this.#pool.use((connection) => wantTop(connection, name));
  }

  async recentKeys(nowMs: number): Promise<StoredKey[]> {
    const since = wholeSql(nowMs - KEYS_MS - CLOCKS_APART_MS);
    return (await this.#ask(`${KEYS} WHERE seen_ms >= ${since} ORDER BY at_ms`)).map(keyOf);
  }

  /** A key with when it was used, which may be longer ago than keys count. */
  async key(key: string): Promise<StoredKey | null> {
    const [row] = await this.#ask(`${KEYS} WHERE \`key\` = ${hexSql(key)}`);
    return row ? keyOf(row) : null;
  }

  async keyHint(
    shard: number,
    key: string,
    nowMs = Date.now(),
  ): Promise<{ known: { body: string; atMs: number } | null; version: number }> {
    const [row] = await this.#ask(
      `SELECT version, body, at_ms FROM shards
       LEFT JOIN \`keys\` ON \`key\` = ${hexSql(key)} AND at_ms > ${wholeSql(nowMs - KEYS_MS)}
       WHERE shard = ${wholeSql(shard)}`,
    );
    const body = row?.[1] as Buffer | null | undefined;
    return {
      known: body ? { body: body.toString("hex"), atMs: Number(row?.[2]) } : null,
      version: Number(row?.[0] ?? 0),
    };
  }

  async shards(): Promise<(ShardState & { incarnation: string })[]> {
    const rows = await this.#ask(
      "SELECT name, version, stamp_max FROM shards JOIN incarnations ON id = 1 ORDER BY shards.shard",
    );
    return rows.map(([name, version, stampMax]) => {
      return { incarnation: idOf(name as Buffer), version: Number(version), stampMax: Number(stampMax) };
    });
  }

  /** Those that have not retired. */
  async sources(): Promise<SourceState[]> {
    return (await this.#ask("SELECT source, shard, last FROM sources ORDER BY shard, source")).map(sourceOf);
  }

  close(): void {
    this.#pool.close();
    this.#unhurried.close();
  }

  #ask(sql: string): Promise<Row[]> {
    return this.#pool.use((connection) => connection.ask(sql));
  }

  #snapshot<T>(read: (connection: LedgerConnection) => Promise<T>): Promise<T> {
    return this.#pool.use(async (connection) => {
      await connection.write("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
      await connection.write("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
      try {
        return await read(connection);
      } finally {
        if (connection.isOpen) await connection.write("COMMIT");
      }
    });
  }
}
