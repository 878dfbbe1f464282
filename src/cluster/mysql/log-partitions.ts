import { eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/mysql2";
import { withConnection } from "./open-ledger.ts";
import * as schema from "./schema.ts";

/** What the ledger knows of a log's topic. */
export interface RecordedLog {
  /** What its nodes have agreed upon, null where nobody has recorded it. */
  partitions: number | null;
  /** Something of it is in the ledger, so it was made once, whether or not its number is recorded. */
  isUsed: boolean;
  /** Topics of other logs that were written for this ledger. */
  others: string[];
}

export function recordedLog(url: string, topic: string): Promise<RecordedLog> {
  return withConnection(url, async ({ client }) => {
    const orm = drizzle({ client });
    const logs = await orm.select().from(schema.logs);
    const recorded = logs.find((each) => each.topic === topic);
    const others = logs.flatMap((each) => (each.topic === topic ? [] : each.topic));
    const read = await orm.select({ of: schema.partitions.topic }).from(schema.partitions);
    // A log that was made again has another name behind the topic's (see ProjectorThread).
    const isUsed = read.some(({ of }) => of === topic || of.startsWith(`${topic} `));
    return { partitions: recorded?.partitions ?? null, isUsed, others };
  });
}

/** Records a number for a topic of which nobody knows one: who is first decides. The number that holds. */
export function decidePartitions(url: string, topic: string, proposed: number): Promise<number> {
  return withConnection(url, async ({ client }) => {
    const orm = drizzle({ client });
    await orm.insert(schema.logs).ignore().values({ topic, partitions: proposed });
    const [held] = await orm.select().from(schema.logs).where(eq(schema.logs.topic, topic));
    if (!held) throw new Error(`${topic} was not recorded`);
    return held.partitions;
  });
}

/** Records what a topic has, whatever was agreed upon before it was there. */
export function recordPartitions(url: string, topic: string, partitions: number): Promise<void> {
  return withConnection(url, async ({ client }) => {
    const orm = drizzle({ client });
    await orm.insert(schema.logs).values({ topic, partitions }).onDuplicateKeyUpdate({ set: { partitions } });
  });
}
