import { sql } from "drizzle-orm";
import { blob, check, index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

/*
 * The ledger's tables. Ids are TEXT compared byte by byte (BINARY, the default). Every table with a key of its own is
 * WITHOUT ROWID; drizzle-kit cannot say that, so it is added to the generated SQL by hand (ledger.test.ts checks it).
 */

/** The numbers that stand for metrics in all other tables; handed out once, never again. */
export const metrics = sqliteTable("metrics", {
  id: integer().primaryKey(),
  name: text().notNull().unique(),
  kind: text({ enum: ["tally", "relation"] }).notNull(),
});

/** One row: up to where the log is in the ledger. `incarnation` names this ledger. */
export const position = sqliteTable("position", {
  id: integer().primaryKey(),
  at: integer().notNull(),
  incarnation: text().notNull(),
});

export const shards = sqliteTable("shards", {
  shard: integer().primaryKey(),
  version: integer().notNull(),
  stampMax: integer("stamp_max").notNull(),
});

/** The last number decided of each source and shard. */
export const sources = sqliteTable(
  "sources",
  {
    source: text().notNull(),
    shard: integer().notNull(),
    last: integer().notNull(),
    atMs: integer("at_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.source, t.shard] })],
);

/** Numbers that never came: a gap in a source, `from_n` to `to_n`. */
export const losses = sqliteTable("losses", {
  id: integer().primaryKey({ autoIncrement: true }),
  source: text().notNull(),
  shard: integer().notNull(),
  fromN: integer("from_n").notNull(),
  toN: integer("to_n").notNull(),
  atMs: integer("at_ms").notNull(),
});

/** A count is its row here and what `deltas` adds to it. */
export const counts = sqliteTable(
  "counts",
  {
    subject: text().notNull(),
    metric: integer().notNull(),
    count: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.subject, t.metric] })],
);

/**
 * How much each tally changed in each step (`at`: its first second since 1970; steps are hours). A tally's count is the sum
 * of its amounts, here and in `deltas`.
 */
export const history = sqliteTable(
  "history",
  {
    at: integer().notNull(),
    subject: text().notNull(),
    metric: integer().notNull(),
    amount: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.at, t.subject, t.metric] })],
);

/**
 * Changes of counts that have not been folded into `counts` and `history` yet (deltas.ts). `at` is the history's step, 0 for
 * a relation's count.
 */
export const deltas = sqliteTable(
  "deltas",
  {
    segment: integer().notNull(),
    subject: text().notNull(),
    metric: integer().notNull(),
    at: integer().notNull(),
    amount: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.segment, t.subject, t.metric, t.at] })],
);

/** The segments that `deltas` has: the last one is the current one. */
export const deltaSegments = sqliteTable("delta_segments", {
  segment: integer().primaryKey(),
});

/**
 * One row for each register (metric, subject, actor), tombstones included, in the segment that was current when its stamp
 * was stored. Every tree begins with the segment, so that new rows fall into trees that fit in the cache: plain trees took
 * 24 µs a row at 3.6 million rows and rising, these stay at what they take in a new ledger (apply.ts has the numbers).
 */
export const relations = sqliteTable(
  "relations",
  {
    segment: integer().notNull(),
    actor: text().notNull(),
    subject: text().notNull(),
    metric: integer().notNull(),
    stamp: integer().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.segment, t.actor, t.subject, t.metric] }),
    index("relations_by_subject").on(t.segment, t.subject, t.metric, t.stamp).where(sql`stamp & 1`),
    index("relations_by_actor").on(t.segment, t.actor, t.metric, t.stamp).where(sql`stamp & 1`),
    // Few, and only asked for where a subject is erased.
    index("relations_inactive").on(t.segment, t.subject).where(sql`(stamp & 1) = 0`),
  ],
);

/** The time partitions of `relations`: numbers 0, 1, 2 …, the last one is the current one. */
export const segments = sqliteTable("segments", {
  segment: integer().primaryKey(),
  /** How many rows it may take before the next one begins. */
  capacity: integer().notNull(),
  rows: integer().notNull(),
  /** No row's stamp is outside. */
  stampMin: integer("stamp_min").notNull(),
  stampMax: integer("stamp_max").notNull(),
});

/**
 * The Bloom filters of closed segments and of the groups they are in (filters.ts), as they were when segment `covers` was
 * closed: without them a start would have to read every row before it can say "never".
 */
export const filters = sqliteTable(
  "filters",
  {
    kind: text({ enum: ["segment", "group"] }).notNull(),
    /** The segment, or the group's first one. */
    number: integer().notNull(),
    lines: integer().notNull(),
    seed: integer().notNull(),
    covers: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.kind, t.number] })],
);

export const filterParts = sqliteTable(
  "filter_parts",
  {
    kind: text({ enum: ["segment", "group"] }).notNull(),
    number: integer().notNull(),
    part: integer().notNull(),
    bits: blob().notNull(),
  },
  (t) => [primaryKey({ columns: [t.kind, t.number, t.part] })],
);

/** By how much each batch changed the counts (rankings/changes.ts), until the ranker has put it into `steps`. */
export const changes = sqliteTable("changes", {
  position: integer().primaryKey(),
  frame: blob().notNull(),
});

/** The same by steps, of minutes and later of hours: what the rankings look back on. `at`: a step's first second. */
export const steps = sqliteTable(
  "steps",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    at: integer().notNull(),
    isHour: integer("is_hour").notNull(),
    frame: blob().notNull(),
  },
  (t) => [index("steps_by_time").on(t.isHour, t.at)],
);

/** Subjects that were erased (`becomes` empty) or merged: what older steps have of them is nobody's, or the other one's. */
export const stepSubjects = sqliteTable("step_subjects", {
  id: integer().primaryKey({ autoIncrement: true }),
  subject: text().notNull(),
  becomes: text().notNull(),
  upTo: integer("up_to").notNull(),
  atS: integer("at_s").notNull(),
});

/** Active relations by type of the actors who have so many that counting their rows would take long. */
export const actors = sqliteTable(
  "actors",
  {
    actor: text().notNull(),
    metric: integer().notNull(),
    type: text().notNull(),
    count: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.actor, t.metric, t.type] }), check("actors_range", sql`count >= 0`)],
);

/** Who was erased, as a hash, and when: of this actor nothing that is not newer is taken in. */
export const floors = sqliteTable("floors", {
  actor: blob().primaryKey(),
  stamp: integer().notNull(),
});

/**
 * Counts that have reached what a webhook asks for: once for each URL, for ever. `due_ms`: when it is to be told next; null:
 * it was, or never will be.
 */
export const milestones = sqliteTable(
  "milestones",
  {
    subject: text().notNull(),
    metric: integer().notNull(),
    threshold: integer().notNull(),
    url: text().notNull(),
    count: integer().notNull(),
    atMs: integer("at_ms").notNull(),
    tries: integer().notNull(),
    dueMs: integer("due_ms"),
  },
  (t) => [
    primaryKey({ columns: [t.subject, t.metric, t.threshold, t.url] }),
    index("milestones_due").on(t.url, t.dueMs).where(sql`due_ms IS NOT NULL`),
  ],
);

/** Keys that named acts, by steps of time so that old ones go together. */
export const keys = sqliteTable(
  "keys",
  {
    step: integer().notNull(),
    key: blob().notNull(),
    body: blob().notNull(),
    atMs: integer("at_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.step, t.key] })],
);

/** Who counted, of tallies that are `distinct`: one sketch (distinct/sketch.ts) of all time (day 0) and one of each day, kept for two. */
export const sketches = sqliteTable(
  "sketches",
  {
    /** Since 1970. */
    day: integer().notNull(),
    subject: text().notNull(),
    metric: integer().notNull(),
    sketch: blob().notNull(),
  },
  (t) => [primaryKey({ columns: [t.day, t.subject, t.metric] })],
);
