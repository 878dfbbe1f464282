import type { MessagePort } from "node:worker_threads";
import { shardOf } from "../arithmetic/shard-of.ts";
import { badInput, keyReused, type Problem, unavailable } from "../errors.ts";
import { Questions } from "../lib/questions.ts";
import { LAG_MS_MAX, LOOK_MS_MAX, SHARED_JOB_MS_MAX } from "../limits.ts";
import { type Actor, COUNT_MAX, type Metric, type Subject } from "../model.ts";
import type { Admin, Erased } from "../ports/admin.ts";
import type { Counting, OnceKey } from "../ports/counting.ts";
import { type HotStore, isBehind, type LedgerState } from "../ports/hot-store.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Applied } from "./applied.ts";
import { isAway } from "./away.ts";
import { FLOORS_UNKNOWN_MS } from "./floor-watch.ts";
import type { Freshness } from "./freshness.ts";
import type { JobMessage, JobReply, JobRequest, LoggedJob } from "./job-log.ts";
import type { SharedLedger } from "./ledger.ts";
import type { LogClient } from "./log-client.ts";
import type { Shards } from "./shards.ts";

interface AdminParts {
  port: MessagePort;
  counting: Pick<Counting, "counts" | "add">;
  table: CounterTable;
  freshness: Freshness;
  hot: HotStore;
  ledger: SharedLedger;
  shards: Shards;
  log: LogClient;
  applied: Applied;
}

const POLL_MS = 10;

/**
 * What administrators ask, in a cluster, as one request thread does it.
 *
 *     main: this node's counts, then the record → log → projector → ledger → Redis brought up to it → this node's table
 *
 * The log's order decides: what was in the shard's log before the record is part of it, what comes after counts on top. So
 * nobody need be held back, and killed anywhere the record is in the log or it is not. What was shown before it is waited for.
 * The answer waits for the ledger and for Redis, so that every later read shows it; where one of them is away it is 202.
 *
 * An erasure of an actor is one record for each shard, and one message for each partition, but one frame of the node's outbox:
 * of a node that dies between two messages the rest goes out when it is back, by itself.
 *
 * A merge stands in the log of `from`. What was acknowledged of `to` before must not come behind it, so the ledger is waited for
 * first to have `to`'s partition up to its end.
 */
export class ClusterAdmin implements Admin {
  readonly #parts: AdminParts;
  readonly #asked = new Questions<JobReply>();

  constructor(parts: AdminParts) {
    this.#parts = parts;
    parts.port.on("message", (reply: JobReply) => this.#asked.answer(reply.id, reply));
  }

  async set(metric: Metric, subject: Subject, count: number, once?: OnceKey): Promise<number | null> {
    const shard = shardOf(subject);
    if (await this.#isRepeat(shard, once)) return (await this.#sharedCounts([subject], [metric]))[0] as number;
    const isNoted = await this.#untilNoted([shard]);
    const logged = await this.#log({ kind: "set", metric: metric.id, subject, count, once: named(once) });
    const isShown = isNoted && (await this.#untilShown(logged, [shard], LAG_MS_MAX));
    this.#renew([subject], [metric]);
    // So that who counts here next is told if there is no room above it.
    if (isShown) await this.#parts.counting.add(metric, subject, 0);
    return isShown ? count : null;
  }

  async eraseSubject(subject: Subject, metrics: readonly Metric[], once?: OnceKey): Promise<Erased> {
    const shard = shardOf(subject);
    if (await this.#isRepeat(shard, once)) return nothing(metrics);
    const isNoted = await this.#untilNoted([shard]);
    const logged = await this.#log({ kind: "erase-subject", subject, metrics: idsOf(metrics), once: named(once) });
    const isShown = isNoted && (await this.#untilShown(logged, [shard], SHARED_JOB_MS_MAX));
    this.#renew([subject], metrics);
    return this.#erased(logged, metrics, isShown);
  }

  async eraseActor(actor: Actor, metrics: readonly Metric[], once?: OnceKey): Promise<Erased> {
    if (await this.#isRepeat(0, once)) return nothing(metrics);
    const logged = await this.#log({ kind: "erase-actor", actor, once: named(once) });
    const shards = logged.records.map(([shard]) => shard);
    const isShown = await this.#untilShown(logged, shards, SHARED_JOB_MS_MAX);
    // From now on everybody stamps the actor's acts above it.
    await Bun.sleep(FLOORS_UNKNOWN_MS);
    return this.#erased(logged, metrics, isShown);
  }

  async merge(from: Subject, to: Subject, metrics: readonly Metric[], once?: OnceKey): Promise<number[] | null> {
    const { counting, applied } = this.#parts;
    const shards = [shardOf(from), shardOf(to)] as const;
    if (await this.#isRepeat(shards[0], once)) return this.#sharedCounts([to, from], metrics);
    const [given, there] = [await counting.counts(from, metrics), await counting.counts(to, metrics)];
    if (given.some((count, i) => count + (there[i] as number) > COUNT_MAX)) {
      throw tooMuch();
    }
    const isNoted = await this.#untilNoted(shards);
    if (!(await applied.within(shards[1], SHARED_JOB_MS_MAX))) {
      throw unavailable("a store is away, so it is not known what is still on its way; nothing was merged");
    }
    const logged = await this.#log({ kind: "merge", from, to, metrics: idsOf(metrics), once: named(once) });
    const isShown = isNoted && (await this.#untilShown(logged, [...new Set(shards)], SHARED_JOB_MS_MAX));
    this.#renew([from, to], metrics);
    // Nobody knows the sums in advance: others merge and set, too, and the ledger's order decides.
    if (isShown && (await this.#noted(logged)).length > 0) throw tooMuch();
    return isShown ? counting.counts(to, metrics) : null;
  }

  close(): void {
    this.#parts.port.close();
    this.#asked.answerAll({ id: 0, refused: "the server stops" });
  }

  async #log(request: JobRequest): Promise<LoggedJob> {
    const { port } = this.#parts;
    const reply = await this.#asked.ask((id) => port.postMessage({ id, request } satisfies JobMessage));
    if ("logged" in reply) return reply.logged;
    throw unavailable(`the log cannot be written: ${reply.refused}`);
  }

  /** Whether the key has named something already; where that cannot be asked the ledger decides, which takes a key once. */
  async #isRepeat(shard: number, once: OnceKey | undefined): Promise<boolean> {
    if (!once) return false;
    try {
      const { known } = await this.#parts.ledger.keyHint(shard, once.key);
      if (known && known.body !== once.body) {
        throw keyReused();
      }
      return known !== null;
    } catch (error) {
      if (isAway(error)) return false;
      throw error;
    }
  }

  /**
   * What all are shown of the shards is in the log, so that nothing of it comes behind the record: acts that a node could not
   * send to Kafka, and other nodes' notes, which go to Redis and to Kafka at once. False where a store is away or it takes too
   * long: then the record takes its place in the log all the same, and nobody is told what the counts are.
   */
  async #untilNoted(shards: readonly number[]): Promise<boolean> {
    const { hot, ledger, log } = this.#parts;
    if (!(await log.canShip())) return false;
    const isSent = this.#inTime(LOOK_MS_MAX, async () => async () => !(await ledger.hasNotices("spools")));
    const areNoted = this.#inTime(LAG_MS_MAX, async () => {
      const heads = await hot.heads(shards);
      const missing = shards.filter((_, i) => !heads[i]);
      await Promise.all(missing.map((shard) => this.#parts.shards.repair(shard)));
      const notes = await hot.notesOnTheWay(shards);
      const sources = [...new Set(notes.map(({ source }) => source))];
      return async () => {
        if (sources.length === 0) return true;
        const last = new Map((await ledger.lastOf(sources)).map((each) => [`${each.source} ${each.shard}`, each.last]));
        return notes.every((note) => (last.get(`${note.source} ${note.shard}`) ?? 0) >= note.last);
      };
    });
    return (await Promise.all([isSent, areNoted])).every(Boolean);
  }

  /** The ledger has all records, and Redis what followed from them; false where a store is away, or it takes too long. */
  async #untilShown({ source, records }: LoggedJob, shards: readonly number[], ms: number): Promise<boolean> {
    const { ledger, log } = this.#parts;
    const isDecided = await this.#inTime(ms, async () => {
      // Rejects where Kafka is away: then the record waits on this node's disk.
      await log.end(shards[0] as number);
      return async () => {
        const last = new Map((await ledger.lastOf([source])).map(({ shard, last }) => [shard, last]));
        return records.every(([shard, n]) => (last.get(shard) ?? 0) >= n);
      };
    });
    return isDecided && this.#untilInRedis(shards);
  }

  /** Redis has what the ledger has by now of these shards. */
  #untilInRedis(shards: readonly number[]): Promise<boolean> {
    const { hot, ledger } = this.#parts;
    return this.#inTime(LAG_MS_MAX, async () => {
      const versions = await ledger.shards();
      return async () => {
        const heads = await hot.heads(shards);
        const behind = shards.filter((shard, i) => !heads[i] || isBehind(heads[i], versions[shard] as LedgerState));
        await Promise.all(behind.map((shard) => this.#parts.shards.repair(shard)));
        return behind.length === 0;
      };
    });
  }

  async #inTime(ms: number, begin: () => Promise<() => Promise<boolean>>): Promise<boolean> {
    const deadline = performance.now() + ms;
    try {
      for (const isDone = await begin(); !(await isDone()); ) {
        if (performance.now() > deadline) return false;
        await Bun.sleep(POLL_MS);
      }
      return true;
    } catch (error) {
      if (isAway(error)) return false;
      throw error;
    }
  }

  /**
   * The first one's counts, for the repeat of an act that changed all of these subjects. It may have come to another node, and not
   * be answered yet: then this node's table knows less than the ledger does, and Redis may.
   */
  async #sharedCounts(subjects: readonly [Subject, ...Subject[]], metrics: readonly Metric[]): Promise<number[]> {
    await this.#untilInRedis([...new Set(subjects.map(shardOf))]);
    this.#renew(subjects, metrics);
    return this.#parts.counting.counts(subjects[0], metrics);
  }

  /** What was taken away, as the ledger has noted it. */
  async #erased(logged: LoggedJob, metrics: readonly Metric[], isShown: boolean): Promise<Erased> {
    const counts = new Map<number, number>();
    try {
      for (const { metric, count } of await this.#noted(logged)) counts.set(metric, (counts.get(metric) ?? 0) + count);
    } catch (error) {
      if (!isAway(error)) throw error;
      return { counts: null, isShown: false };
    }
    return { counts: isShown ? metrics.map(({ id }) => counts.get(id) ?? 0) : null, isShown };
  }

  async #noted({ source, records }: LoggedJob): Promise<{ metric: number; count: number }[]> {
    const own = new Set(records.map(([shard, n]) => `${shard} ${n}`));
    return (await this.#parts.ledger.erased(source)).filter(({ shard, n }) => own.has(`${shard} ${n}`));
  }

  /** What this node's table knew of these counters was before; readings that are under way are not believed any more. */
  #renew(subjects: readonly Subject[], metrics: readonly Metric[]): void {
    const { table, freshness } = this.#parts;
    table.enter();
    try {
      for (const subject of subjects) {
        freshness.renew(shardOf(subject));
        for (const { id } of metrics) {
          const slot = table.find(id, subject);
          if (slot >= 0 && table.isLoaded(slot)) freshness.forget(slot);
        }
      }
    } finally {
      table.leave();
    }
  }
}

function idsOf(metrics: readonly Metric[]): number[] {
  return metrics.map(({ id }) => id);
}

function tooMuch(): Problem {
  return badInput("/from", `a count would pass ${COUNT_MAX}; nothing was merged`);
}

function nothing(metrics: readonly Metric[]): Erased {
  return { counts: metrics.map(() => 0), isShown: true };
}

function named(once: OnceKey | undefined) {
  return once && { ...once, atMs: Date.now() };
}
