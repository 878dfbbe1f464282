import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { TOP } from "../../src/arithmetic/place.ts";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import type { LogMessage } from "../../src/cluster/mysql/messages.ts";
import { prepareLedger } from "../../src/cluster/mysql/open-ledger.ts";
import { MysqlLedgerReader } from "../../src/cluster/mysql/reads.ts";
import { KEYS_MS } from "../../src/limits.ts";
import type { LogRecord } from "../../src/records.ts";
import { random } from "../support/random.ts";
import { type SharedServices, sharedServices } from "../support/services.ts";
import {
  key,
  LIKES,
  like,
  message,
  NOW_MS,
  PARTITIONS,
  partitionOf,
  set,
  shardOf,
  subjectIn,
  TOPIC,
  VIEWS,
  view,
} from "./mysql-support.ts";

let services: SharedServices;
beforeAll(async () => {
  services = await sharedServices();
}, 60_000);
afterAll(() => services.stop());

let url: string;
let nowMs: number;
let writer: MysqlLedgerWriter;
let reader: MysqlLedgerReader;
beforeEach(async () => {
  url = await services.mysql.createDatabase();
  await prepareLedger(url);
  nowMs = NOW_MS;
  writer = new MysqlLedgerWriter(url, { now: () => nowMs });
  reader = new MysqlLedgerReader(url, { partitions: PARTITIONS });
});
afterEach(async () => {
  await writer.close();
  reader.close();
});

const A = subjectIn(1);
const B = subjectIn(1, 1);
const C = subjectIn(2);
const P = partitionOf(A);

/** The longest prefix, and the name that a log gets which was made again. */
const LONG_TOPIC = `${"p".repeat(64)}.log ${"0".repeat(36)}`;

describe("one transaction", () => {
  test("says what it changed in each shard, in absolute numbers", async () => {
    await writer.apply([message(9, "n", like(1, A, "x", 11), like(2, A, "y", 13))], TOPIC);
    const messages = [
      message(10, "n", like(3, A, "x", 8), like(4, A, "y", 14), like(5, B, "z", 21)),
      message(11, "t", view(1, A, 5), view(2, B, 6), view(1, C, 1)),
      message(12, "t", view(3, A, 2, key(1)), view(4, A, 1)),
    ];
    const { commits, held, gaps, records, registers } = await writer.apply(messages, TOPIC);
    expect([held, gaps, records, registers]).toEqual([[], [], 8, 2]);
    const incarnation = await reader.incarnation();
    const [first, second] = commits;
    expect(first).toMatchObject({ shard: 1, incarnation, version: 2, position: 13, keys: [key(1).key] });
    expect(new Map(first?.last)).toEqual(
      new Map([
        ["n", 5],
        ["t", 4],
      ]),
    );
    expect(first?.groups).toEqual([
      ["t", 2],
      ["t", 4],
    ]);
    expect(first?.counts.toSorted()).toEqual(
      [
        [LIKES, A, 1],
        [LIKES, B, 1],
        [VIEWS, A, 8],
        [VIEWS, B, 6],
      ].toSorted() as never,
    );
    expect(first?.registers).toEqual([
      [LIKES, A, "x", 11],
      [LIKES, A, "y", 14],
      [LIKES, B, "z", 21],
    ]);
    expect(second).toMatchObject({
      shard: 2,
      version: 1,
      last: [["t", 1]],
      counts: [[VIEWS, C, 1]],
      groups: [["t", 1]],
    });
    expect((await reader.positions()).get(P)).toBe(13);
  });

  test("says what of it is of another time", async () => {
    await writer.apply([message(0, "n", like(1, A, "there", 11))], TOPIC);
    const past = (record: LogRecord): LogRecord => ({ ...record, past: true }) as LogRecord;
    const { commits } = await writer.apply(
      [
        message(1, "n", past(like(2, A, "there", 9)), past(like(3, A, "x", 13)), like(4, A, "y", 21)),
        message(2, "n", past(like(5, A, "y", 15)), past(view(6, A, 7, key(1))), view(7, A, 1, key(2))),
        message(3, "upload", past(view(1, A, 2)), past(view(2, B, 3))),
        message(4, "upload", past(view(3, A, 4))),
        message(5, "t", view(1, A, 5)),
      ],
      TOPIC,
    );
    expect(commits.length).toBe(1);
    expect(commits[0]?.registers).toEqual([
      [LIKES, A, "there", 11, 0],
      [LIKES, A, "x", 13, 1],
      [LIKES, A, "y", 21],
    ]);
    const tallies = [
      [VIEWS, A, 2 + 4 + 7],
      [VIEWS, B, 3],
    ].toSorted();
    expect(commits[0]?.past).toEqual({ tallies, names: [key(1).key, "2 upload", "3 upload"] } as never);
  });

  test("what comes again changes no version, and no copy is told", async () => {
    const messages = [message(0, "n", like(1, A, "x", 11), view(2, A, 5))];
    await writer.apply(messages, TOPIC);
    const { commits, records } = await writer.apply(messages, TOPIC);
    expect([commits, records]).toEqual([[], 0]);
    expect((await reader.versionOf(1)).version).toMatchObject({ version: 1, position: 1, last: [["n", 2]] });
    expect(await reader.count(VIEWS, A)).toBe(5);
  });

  test("positions never go back, but for another topic; they may say more than the messages", async () => {
    await writer.apply([message(100, "n", view(1, A, 1))], TOPIC);
    await writer.apply([message(7, "n", view(2, A, 1))], TOPIC);
    expect((await reader.positions()).get(P)).toBe(101);
    await writer.apply([message(7, "n", view(3, A, 1))], { topic: LONG_TOPIC });
    expect((await reader.positions()).get(P)).toBe(8);
    await writer.apply([], { topic: LONG_TOPIC, positions: new Map([[P, 12]]) });
    expect((await reader.positions()).get(P)).toBe(12);
    expect((await reader.topics()).get(P)).toBe(LONG_TOPIC);
  });

  test("sets, and a history that adds up to the count", async () => {
    await writer.apply([message(0, "n", view(1, A, 7), set(2, A, 3), view(3, A, 4))], TOPIC);
    await writer.apply([message(1, "n", set(4, A, Number.MAX_SAFE_INTEGER - 1), view(5, A, 9))], TOPIC);
    expect(await reader.count(VIEWS, A)).toBe(Number.MAX_SAFE_INTEGER);
    expect(await ask("SELECT sum(amount) FROM history")).toEqual([[Number.MAX_SAFE_INTEGER]]);
    await writer.apply([message(2, "n", set(6, A, 2))], TOPIC);
    expect(await ask("SELECT sum(amount) FROM history")).toEqual([[2]]);
  });

  test("registers in all ways: new, repeated, older, newer, back and forth, mixed in one batch", async () => {
    const actors = Array.from({ length: 2_500 }, (_, i) => `a${i}`);
    const first = actors.filter((_, i) => i % 3 !== 0).map((actor, i) => like(i + 1, A, actor, 1_001));
    await writer.apply([message(0, "n", ...first)], TOPIC);
    expect(await reader.count(LIKES, A)).toBe(first.length);
    // Every third is new, every third unlikes, the rest repeat what is there or come too late.
    const n = first.length;
    const second = actors.map((actor, i) =>
      like(n + i + 1, A, actor, [1_003, 1_002, i % 2 ? 1_001 : 999][i % 3] as number),
    );
    const { registers, commits } = await writer.apply([message(1, "n", ...second)], TOPIC);
    const changed = actors.filter((_, i) => i % 3 !== 2).length;
    expect(registers).toBe(changed);
    const active = actors.filter((_, i) => i % 3 !== 1).length;
    expect([await reader.count(LIKES, A), commits[0]?.counts]).toEqual([active, [[LIKES, A, active]]]);
    expect((await ask("SELECT count(*) FROM relations WHERE active = 1"))[0]).toEqual([active]);
    expect(commits[0]?.registers.find(([, , actor]) => actor === "a5")?.[3]).toBe(1_001);
  });
});

async function ask(sql: string): Promise<unknown[][]> {
  const connection = await LedgerConnection.open(url, PATIENT);
  try {
    return (await connection.ask(sql)) as unknown[][];
  } finally {
    connection.close();
  }
}

describe("a gap", () => {
  test("holds what is behind it until the source has sent again", async () => {
    const early = message(5, "n", view(1, A, 1), view(3, A, 4));
    const other = message(6, "m", view(1, B, 1));
    const first = await writer.apply([early, other], TOPIC);
    expect(first.held).toEqual([early]);
    expect(first.gaps).toEqual([{ source: "n", shard: 1, from: 2, to: 2 }]);
    expect([await reader.count(VIEWS, A), await reader.count(VIEWS, B)]).toEqual([1, 1]);
    // Whoever takes over reads the held message again.
    expect((await reader.positions()).get(P)).toBe(5);
    const later = message(9, "n", view(2, A, 2));
    const second = await writer.apply([...first.held, later], TOPIC);
    expect([second.held, second.gaps, second.losses]).toEqual([[], [], []]);
    expect([await reader.count(VIEWS, A), (await reader.positions()).get(P)]).toEqual([7, 10]);
    expect(second.commits[0]?.last).toEqual([["n", 3]]);
  });

  test("that nobody can fill is recorded and passed when the caller says so", async () => {
    const early = message(5, "n", view(4, A, 4));
    const { held } = await writer.apply([early], TOPIC);
    const passed = await writer.apply(held, { ...TOPIC, acceptsGap: ({ source }) => source === "n" });
    expect(passed.losses).toEqual([{ source: "n", shard: 1, from: 1, to: 3 }]);
    expect([await reader.count(VIEWS, A), (await reader.positions()).get(P)]).toEqual([4, 6]);
    expect(await ask("SELECT source, shard, from_n, to_n FROM losses")).toEqual([[Buffer.from("n"), 1, 1, 3]]);
  });

  test("is none where the messages come in another order", async () => {
    const messages = [3, 2, 1].map((n, i) => message(i, "n", view(n, A, n), like(n, C, `x${n}`, n * 2 + 1)));
    const { held, gaps } = await writer.apply(messages, { ...TOPIC, acceptsGap: () => true });
    expect([held, gaps]).toEqual([[], []]);
    expect([await reader.count(VIEWS, A), await reader.count(LIKES, C)]).toEqual([6, 3]);
  });
});

describe("a key", () => {
  test("counts once, from whichever node, and its repeats are decided", async () => {
    const first = await writer.apply(
      [message(0, "n", view(1, A, 5, key(1))), message(1, "m", view(1, A, 5, key(1)))],
      TOPIC,
    );
    expect(first.commits[0]).toMatchObject({ counts: [[VIEWS, A, 5]], keys: [key(1).key, key(1).key] });
    const later = await writer.apply(
      [message(2, "o", view(1, A, 5, key(1, NOW_MS + KEYS_MS - 1)), view(2, A, 1))],
      TOPIC,
    );
    expect(later.commits[0]).toMatchObject({ counts: [[VIEWS, A, 6]], keys: [key(1).key], last: [["o", 2]] });
    expect(await reader.key(key(1).key)).toEqual(key(1));
    await writer.apply([message(3, "n", view(2, A, 5, key(1, NOW_MS + KEYS_MS)))], TOPIC);
    expect(await reader.count(VIEWS, A)).toBe(11);
  });

  test("leaves when it is old", async () => {
    await writer.apply([message(0, "n", view(1, A, 5, key(1)))], TOPIC);
    nowMs += 25 * 60_000;
    await writer.apply([message(1, "n", view(2, A, 5, key(2, nowMs)))], TOPIC);
    while (await writer.tidy(nowMs + 6 * 60_000));
    expect([await reader.key(key(1).key), await reader.key(key(2).key)]).toEqual([null, key(2, nowMs)]);
  });

  test("leaves, too, when the clock was ahead for a moment", async () => {
    while (await writer.tidy(nowMs + 365 * 24 * 3_600_000));
    await writer.apply([message(0, "n", view(1, A, 5, key(1)))], TOPIC);
    while (await writer.tidy(nowMs + 31 * 60_000));
    expect(await reader.key(key(1).key)).toBeNull();
  });
});

test("what waits in the writer's tidying holds up what is applied meanwhile, and is no fault of a message", async () => {
  await writer.apply([message(0, "n", view(1, A, 5, key(1)))], TOPIC);
  const other = await LedgerConnection.open(url, PATIENT, false);
  await other.ask("SELECT * FROM `keys` FOR UPDATE");
  const tidied = writer.tidy(nowMs + 31 * 60_000);
  const applied = writer.apply([message(1, "n", view(2, A, 6))], TOPIC);
  await other.write("ROLLBACK");
  other.close();
  await tidied;
  expect((await applied).records).toBe(1);
  expect(await reader.count(VIEWS, A)).toBe(11);
});

test("ids that a store might take for each other are different ones", async () => {
  const ids = [
    "Bob",
    "bob",
    "bob ",
    " bob",
    "é",
    "e\u0301",
    "ß",
    "ss",
    "'",
    "\\",
    "\\'",
    "''",
    "%",
    "_",
    "x'41'",
    "😀",
    "0",
    "00",
  ];
  const subjects = ids.map((id) => `user/${id}`);
  let n = 0;
  const records = subjects.flatMap((subject) => ids.map((actor) => like(0, subject, actor, 1_001 + 2 * n++)));
  const last = new Map<number, number>();
  for (const record of records) {
    record.n = (last.get(record.shard) ?? 0) + 1;
    last.set(record.shard, record.n);
  }
  const messages = records.map((record, i) => message(i, "n", record));
  await writer.apply(messages, TOPIC);
  // Again under another source: every one of them is found as it is.
  const again = messages.map((it, i) => ({ ...it, offset: 1_000 + i, frame: { ...it.frame, source: "m" } }));
  expect((await writer.apply(again, TOPIC)).registers).toBe(0);
  for (const [i, subject] of subjects.entries()) {
    expect(await reader.count(LIKES, subject)).toBe(ids.length);
    const newest = await reader.newestActors(LIKES, subject, TOP, 100);
    expect(newest.map(({ id }) => id)).toEqual(ids.toReversed());
    const actor = ids[i] as string;
    const liked = await reader.newestSubjects(LIKES, actor, TOP, 100, "user");
    expect(liked.map(({ id }) => id)).toEqual(subjects.toReversed());
    expect(await reader.actorCount(LIKES, actor)).toBe(ids.length);
  }
});

describe("two writers", () => {
  test("race for the same messages, and each record is applied once", async () => {
    const { below, chance, pick } = random(5);
    const subjects = Array.from({ length: 20 }, (_, i) => `article/${i}`);
    const expected = new Map<string, number>();
    const numbers = new Map<string, number>();
    const messages: LogMessage[] = [];
    for (let offset = 0; offset < 600; offset++) {
      const source = pick(["a", "b", "c"]);
      const partition = below(PARTITIONS);
      const own = subjects.filter((subject) => partitionOf(subject) === partition);
      const records = Array.from({ length: 1 + below(10) }, (): LogRecord => {
        const subject = pick(own);
        const name = `${source} ${shardOf(subject)}`;
        const n = (numbers.get(name) ?? 0) + 1;
        numbers.set(name, n);
        if (chance(0.5)) return like(n, subject, `x${below(50)}`, 2 * (1 + below(5_000)) + below(2));
        const amount = 1 + below(9);
        expected.set(subject, (expected.get(subject) ?? 0) + amount);
        return view(n, subject, amount);
      });
      messages.push({ partition, offset, frame: { source, records } });
    }
    const rival = new MysqlLedgerWriter(url);
    const versions = new Map<number, number[]>();
    const run = async (by: MysqlLedgerWriter, seed: number) => {
      const own = random(seed);
      let held: LogMessage[] = [];
      for (let at = 0; at < messages.length; ) {
        const take = 1 + own.below(12);
        const applied = await by.apply([...held, ...messages.slice(at, at + take)], TOPIC);
        for (const { shard, version } of applied.commits)
          versions.set(shard, [...(versions.get(shard) ?? []), version]);
        held = applied.held;
        at += take;
      }
      expect(held).toEqual([]);
    };
    await Promise.all([run(writer, 1), run(rival, 2)]);
    await rival.close();
    const registers = new Map<string, number>();
    for (const { frame } of messages) {
      for (const record of frame.records) {
        if (record.kind !== "relation") continue;
        const name = `${record.subject} ${record.actor}`;
        registers.set(name, Math.max(registers.get(name) ?? 0, record.stamp));
      }
    }
    for (const subject of subjects) {
      expect(await reader.count(VIEWS, subject)).toBe(expected.get(subject) ?? 0);
      const active = [...registers].filter(([name, stamp]) => name.startsWith(`${subject} `) && stamp % 2 === 1);
      expect(await reader.count(LIKES, subject)).toBe(active.length);
    }
    for (const [shard, { version }] of (await reader.shards()).entries()) {
      const told = (versions.get(shard) ?? []).sort((a, b) => a - b);
      expect(told).toEqual(Array.from({ length: version }, (_, i) => i + 1));
    }
  }, 30_000);

  test("one that is chosen as a deadlock's victim tries again", async () => {
    const other = await LedgerConnection.open(url, PATIENT, false);
    await other.write("CREATE TABLE ballast (id INT PRIMARY KEY)");
    // The server ends the transaction that has changed less.
    await other.write(`INSERT INTO ballast VALUES ${Array.from({ length: 500 }, (_, i) => `(${i})`).join()}`);
    await other.ask("SELECT * FROM shards WHERE shard = 2 FOR UPDATE");
    const applied = writer.apply([message(0, "n", view(1, A, 3), view(1, C, 4))], TOPIC);
    const waiting = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
    const blocked = `${waiting} AND trx_mysql_thread_id IN
      (SELECT id FROM information_schema.processlist WHERE db = DATABASE())`;
    // The server shows what it saw when nobody had looked for a tenth of a second: who asks faster sees the same for ever.
    while ((await ask(blocked))[0]?.[0] === 0) await Bun.sleep(150);
    const locked = other.ask("SELECT * FROM shards WHERE shard = 1 FOR UPDATE");
    expect((await locked).length).toBe(1);
    await other.write("ROLLBACK");
    other.close();
    expect((await applied).records).toBe(2);
    expect([await reader.count(VIEWS, A), await reader.count(VIEWS, C)]).toEqual([3, 4]);
    const [row] = await ask("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'");
    if (row) expect(Number(row[1])).toBeGreaterThan(0);
  }, 30_000);
});
