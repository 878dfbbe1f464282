import { sql } from "drizzle-orm";
import {
  bigint,
  binary,
  customType,
  datetime,
  index,
  int,
  mysqlEnum,
  mysqlTable,
  primaryKey,
  smallint,
  tinyint,
  varbinary,
} from "drizzle-orm/mysql-core";
import { SKETCH_BYTES_MAX } from "../../distinct/sketch.ts";
import { WEBHOOK_URL_BYTES_MAX } from "../../limits.ts";
import { ID_BYTES_MAX, SUBJECT_BYTES_MAX } from "../../model.ts";
import { PACKED_BYTES_MAX } from "./packed-last.ts";

/*
 * The ledger's tables, in what MariaDB 10.11 and MySQL 8.4 both understand. Ids are VARBINARY, so that they are
 * compared byte by byte whatever the server's collations are.
 */

/** A prefix of 64 and what stands behind it. */
const TOPIC_BYTES_MAX = 80;
/** The same with the name that a log gets which was cut or made again. */
const LOG_NAME_BYTES_MAX = TOPIC_BYTES_MAX + 40;
const subject = () => varbinary({ length: SUBJECT_BYTES_MAX }).notNull();
const actor = () => varbinary({ length: ID_BYTES_MAX }).notNull();
const metric = () => tinyint({ unsigned: true }).notNull();
/** Exact to 2^53 in a double: no column may hold more. */
const whole = (name: string) => bigint(name, { mode: "number" }).notNull();
/** A source's name: a node's run or a job. */
const source = () => varbinary({ length: 64 }).notNull();

/** The numbers that stand for metrics in all other tables; handed out once, never again. */
export const metrics = mysqlTable("metrics", {
  id: tinyint({ unsigned: true }).primaryKey(),
  name: varbinary({ length: 32 }).notNull().unique("metrics_by_name"),
  kind: mysqlEnum(["tally", "relation"]).notNull(),
});

/** One row, which names this ledger, and still does when a backup of it is restored. */
export const incarnations = mysqlTable("incarnations", {
  id: tinyint({ unsigned: true }).primaryKey(),
  name: varbinary({ length: 36 }).notNull(),
});

/** All 256 rows are there from the start: whoever changes anything of a shard locks its row first. */
export const shards = mysqlTable("shards", {
  shard: smallint({ unsigned: true }).primaryKey(),
  version: whole("version"),
  stampMax: whole("stamp_max"),
});

/** Up to which offset (the next one to read) each partition of the log is in the ledger. */
export const partitions = mysqlTable("partitions", {
  number: int({ unsigned: true }).primaryKey(),
  position: whole("position"),
  /** Of the topic that the offset counts in: another one begins at 0 again. */
  topic: varbinary({ length: LOG_NAME_BYTES_MAX }).notNull(),
  /** The number of its last row in `changes`. */
  changes: whole("changes").default(0),
});

/**
 * How many partitions a log's topic has, as its nodes have agreed: what it is made with where it is not there, and what nodes
 * count with that start while Kafka is away.
 */
export const logs = mysqlTable("logs", {
  topic: varbinary({ length: TOPIC_BYTES_MAX }).primaryKey(),
  partitions: int({ unsigned: true }).notNull(),
});

/** The last number decided of each source and shard. */
export const sources = mysqlTable(
  "sources",
  { shard: smallint({ unsigned: true }).notNull(), source: source(), last: whole("last"), atMs: whole("at_ms") },
  (t) => [primaryKey({ columns: [t.shard, t.source] }), index("sources_by_name").on(t.source)],
);

/**
 * Sources of runs and uploads that are long over, with their last numbers by shard in one value (packed-last.ts). Where
 * `sources` has a row of one that has spoken again, that row counts.
 */
export const retired = mysqlTable(
  "retired",
  {
    source: source().primaryKey(),
    last: varbinary({ length: PACKED_BYTES_MAX }).notNull(),
    atMs: whole("at_ms"),
  },
  (t) => [index("retired_by_time").on(t.atMs)],
);

/** Numbers that never came: a gap in a source, `from_n` to `to_n`. */
export const losses = mysqlTable("losses", {
  id: bigint({ mode: "number", unsigned: true }).primaryKey().autoincrement(),
  source: source(),
  shard: smallint({ unsigned: true }).notNull(),
  fromN: whole("from_n"),
  toN: whole("to_n"),
  atMs: whole("at_ms"),
});

/**
 * One row for each register, tombstones included.
 *
 * A batch is sorted by actor, as the key and one of the indexes are; by subject was no faster. `active` keeps
 * tombstones out of what a list reads, and costs 5 % of a row's insertion; stored or virtual made no difference. Of 7
 * µs that a new row takes the server, the index by subject is 2.6 and the one by actor 1.8, whose rows come sorted.
 */
export const relations = mysqlTable(
  "relations",
  {
    actor: actor(),
    subject: subject(),
    metric: metric(),
    stamp: whole("stamp"),
    active: tinyint({ unsigned: true }).generatedAlwaysAs(sql`stamp % 2`, { mode: "stored" }),
  },
  (t) => [
    primaryKey({ columns: [t.actor, t.subject, t.metric] }),
    index("relations_by_subject").on(t.subject, t.metric, t.active, t.stamp),
    index("relations_by_actor").on(t.actor, t.metric, t.active, t.stamp),
  ],
);

export const counts = mysqlTable("counts", { subject: subject(), metric: metric(), count: whole("count") }, (t) => [
  primaryKey({ columns: [t.subject, t.metric] }),
]);

/** How much each tally changed in each step (`at`: its first second since 1970). Its count is the sum of these. */
export const history = mysqlTable(
  "history",
  { subject: subject(), metric: metric(), at: int({ unsigned: true }).notNull(), amount: whole("amount") },
  (t) => [primaryKey({ columns: [t.subject, t.metric, t.at] })],
);

const mediumblob = customType<{ data: Buffer }>({ dataType: () => "mediumblob" });

/**
 * By how much each batch changed the counts of a partition's shards (rankings/changes.ts), until it is in `steps`. A batch gets
 * its ids under the locks of all shards that it changes: by `id`, what touches one subject stands in the order in which it was
 * committed, whatever the partitions.
 */
export const changes = mysqlTable(
  "changes",
  {
    partition: int("part", { unsigned: true }).notNull(),
    n: whole("n"),
    frame: mediumblob("frame").notNull(),
    id: bigint({ mode: "number", unsigned: true }).notNull().autoincrement().unique("changes_by_id"),
  },
  (t) => [primaryKey({ columns: [t.partition, t.n] })],
);

/** By partition: up to which of them the steps have the changes. */
export const ranked = mysqlTable("ranked", {
  partition: int("part", { unsigned: true }).primaryKey(),
  n: whole("n"),
});

/** The same by steps, of minutes and later of hours: what the rankings look back on. `at`: a step's first second. */
export const steps = mysqlTable(
  "steps",
  {
    id: bigint({ mode: "number", unsigned: true }).primaryKey().autoincrement(),
    at: int({ unsigned: true }).notNull(),
    isHour: tinyint("is_hour", { unsigned: true }).notNull(),
    frame: mediumblob("frame").notNull(),
  },
  (t) => [index("steps_by_time").on(t.isHour, t.at)],
);

/** Subjects that were erased (`becomes` empty) or merged: what older steps have of them is nobody's, or the other one's. */
export const stepSubjects = mysqlTable("step_subjects", {
  id: bigint({ mode: "number", unsigned: true }).primaryKey().autoincrement(),
  subject: subject(),
  becomes: subject(),
  upTo: whole("up_to"),
  atS: whole("at_s"),
});

const listName = () => ({
  metric: metric(),
  type: varbinary({ length: 32 }).notNull(),
  ranking: tinyint({ unsigned: true }).notNull(),
});

/** The rankings that some node was asked for lately. */
export const topWanted = mysqlTable(
  "top_wanted",
  { ...listName(), at: datetime({ mode: "string", fsp: 3 }).notNull() },
  (t) => [primaryKey({ columns: [t.metric, t.type, t.ranking] })],
);

/** Their lists, as JSON. */
export const topLists = mysqlTable("top_lists", { ...listName(), list: mediumblob("list").notNull() }, (t) => [
  primaryKey({ columns: [t.metric, t.type, t.ranking] }),
]);

/** One row: when all lists were as they should be. */
export const rankers = mysqlTable("rankers", {
  id: tinyint({ unsigned: true }).primaryKey(),
  currentAt: datetime("current_at", { mode: "string", fsp: 3 }).notNull(),
});

/** A webhook's URL; with a subject and numbers it still fits a key. */
const url = () => varbinary({ length: WEBHOOK_URL_BYTES_MAX }).notNull();

/**
 * Counts that have reached what a webhook asks for: once for each URL, for ever. `due_ms`: when it is to be told next; null:
 * it was, or never will be.
 */
export const milestones = mysqlTable(
  "milestones",
  {
    subject: subject(),
    metric: metric(),
    threshold: whole("threshold"),
    url: url(),
    count: whole("count"),
    atMs: whole("at_ms"),
    tries: int({ unsigned: true }).notNull(),
    dueMs: bigint("due_ms", { mode: "number" }),
  },
  (t) => [
    primaryKey({ columns: [t.subject, t.metric, t.threshold, t.url] }),
    index("milestones_due").on(t.url, t.dueMs),
  ],
);

/** Keys that named acts. `seen_ms`: when the ledger got it, by which old ones are pruned. */
export const keys = mysqlTable(
  "keys",
  {
    key: binary({ length: 16 }).primaryKey(),
    body: binary({ length: 8 }).notNull(),
    atMs: whole("at_ms"),
    seenMs: whole("seen_ms"),
  },
  (t) => [index("keys_by_time").on(t.seenMs)],
);

/** Who counted, of tallies that are `distinct`: one sketch (distinct/sketch.ts) of all time (day 0) and one of each day, kept for two. */
export const sketches = mysqlTable(
  "sketches",
  {
    subject: subject(),
    metric: metric(),
    /** Since 1970. */
    day: int({ unsigned: true }).notNull(),
    sketch: varbinary({ length: SKETCH_BYTES_MAX }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.subject, t.metric, t.day] }), index("sketches_by_day").on(t.day)],
);

/**
 * Who was erased, as a hash, and when: on these shards nothing that is not newer is taken in of this actor. A shard's row
 * is there from when its part of the log has the erasure; once all have it, one row (`ALL_SHARDS`) stands for them.
 */
export const floors = mysqlTable(
  "floors",
  { actor: binary({ length: 16 }).notNull(), shard: smallint({ unsigned: true }).notNull(), stamp: whole("stamp") },
  (t) => [primaryKey({ columns: [t.actor, t.shard] }), index("floors_by_stamp").on(t.stamp)],
);

const notice = () => ({
  id: varbinary({ length: 16 }).primaryKey(),
  at: datetime({ mode: "string", fsp: 3 }).notNull(),
});

/** Nodes that have acts on their disk which Kafka has not, as long as they say so: see notices.ts. */
export const spools = mysqlTable("spools", notice());

/** Nodes that have answered acts which no copy in Redis shows, and could not say so there. */
export const unseen = mysqlTable("unseen", notice());

/**
 * What an erasure took away, or what was too much for a merge that was not done, named by its record, for whoever waits to
 * tell it. Kept for a while only.
 */
export const erased = mysqlTable(
  "erased",
  {
    source: source(),
    shard: smallint({ unsigned: true }).notNull(),
    n: whole("n"),
    metric: metric(),
    count: whole("count"),
    atMs: whole("at_ms"),
  },
  (t) => [primaryKey({ columns: [t.source, t.shard, t.n, t.metric] }), index("erased_by_time").on(t.atMs)],
);
