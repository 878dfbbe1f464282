import { SHARDS } from "../arithmetic/shard.ts";
import type { Settings } from "../config.ts";
import { EXIT, StartError } from "../errors.ts";
import { IMPORT_WAIT_MS_MAX, IMPORT_WINDOW_FRAMES } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { ExportSource, ImportTarget } from "../ports/archive.ts";
import { HotStoreAway, isBehind } from "../ports/hot-store.ts";
import { agreedTopics } from "./agreed-topics.ts";
import { KafkaAway, logTopic } from "./kafka/client.ts";
import { KafkaProducer } from "./kafka/producer.ts";
import { MysqlExport } from "./mysql/export.ts";
import { ensureMetrics, prepareLedger } from "./mysql/open-ledger.ts";
import type { MysqlLedgerReader } from "./mysql/reads.ts";
import { OwnProjector } from "./own-projector.ts";
import { commandError } from "./refused.ts";
import { openHot, openSharedLedger, storesOf } from "./stores.ts";

const POLL_MS = 20;
/** What a node has counted is in the log after one; the second is for a node that is late. */
const FLUSHES = 2;
const KAFKA_MS_MAX = 10_000;
/** Where nothing moves for so long it asks whether there is anybody to move it. */
const STILL_MS = 1_000;
const ALL_SHARDS: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard);

/** Export and import of a cluster: everything through the stores, beside whatever nodes there are. */
export function archiveCluster(settings: Settings): {
  source(): Promise<ExportSource>;
  target(): Promise<ImportTarget>;
} {
  return {
    source: () =>
      told(settings, async () => {
        const stores = await ClusterStores.open(settings);
        try {
          await Bun.sleep(FLUSHES * settings.flushMs);
          await stores.untilApplied(await stores.ends());
          return await MysqlExport.open(storesOf(settings).mysqlUrl);
        } finally {
          await stores.close();
        }
      }),
    target: () => told(settings, () => ClusterImport.open(settings)),
  };
}

/** The log's end and what the ledger has of it. */
class ClusterStores {
  readonly producer: KafkaProducer;
  readonly ledger: MysqlLedgerReader;
  readonly partitions: number;
  readonly #projector: OwnProjector;

  private constructor(settings: Settings, producer: KafkaProducer, partitions: number) {
    this.producer = producer;
    this.partitions = partitions;
    this.ledger = openSharedLedger(settings, partitions);
    this.#projector = new OwnProjector(settings, this.ledger, partitions);
  }

  static async open(settings: Settings): Promise<ClusterStores> {
    const partitions = await agreedTopics(settings);
    const producer = new KafkaProducer(settings, { topic: logTopic(settings.prefix), deadlineMs: KAFKA_MS_MAX });
    await producer.start();
    return new ClusterStores(settings, producer, partitions);
  }

  /** Where the log ends now: the offset of each partition's next message. */
  ends(): Promise<Map<number, number>> {
    return this.producer.ends(Array.from({ length: this.partitions }, (_, partition) => partition));
  }

  /** Until the ledger has the log up to those offsets, by its own work where no server does it. Throws where nothing moves for long. */
  async untilApplied(ends: ReadonlyMap<number, number>): Promise<void> {
    let movedMs = performance.now();
    let lookedMs = movedMs;
    let before = "";
    for (;;) {
      const positions = await this.ledger.positions();
      if ([...ends].every(([partition, end]) => (positions.get(partition) ?? 0) >= end)) return;
      const now = JSON.stringify([...positions]);
      const nowMs = performance.now();
      if (now !== before) movedMs = lookedMs = nowMs;
      before = now;
      if (nowMs - movedMs > IMPORT_WAIT_MS_MAX) {
        throw new StartError("nothing brings the log into MySQL: see the servers' logs", EXIT.unavailable);
      }
      if (nowMs - lookedMs > STILL_MS) {
        await this.#projector.startIfAlone();
        lookedMs = performance.now();
      }
      await Bun.sleep(POLL_MS);
    }
  }

  async close(): Promise<void> {
    await this.#projector.stop();
    this.producer.close();
    this.ledger.close();
  }
}

/**
 * An import writes into the log as a node does, under a source of its own, and waits for the ledger: it shows when the projector
 * has told Redis. An act that looks meanwhile does not see what is between log and ledger; an act now is newer than any of an
 * import, and what was not there yet was not told to anyone. It sends a window of frames, then waits until the ledger has the one
 * before, so that acts, which take the same way, wait for little.
 *
 * Killed, it goes on behind what the ledger has: what Kafka has beyond that comes a second time, and is known by its numbers.
 */
class ClusterImport implements ImportTarget {
  readonly metrics: readonly Metric[];
  readonly #settings: Settings;
  readonly #stores: ClusterStores;
  /** Behind the last message of each partition, of this window and of the one before. */
  #ends = new Map<number, number>();
  #endsBefore = new Map<number, number>();
  #frames = 0;

  private constructor(settings: Settings, stores: ClusterStores, metrics: readonly Metric[]) {
    this.#settings = settings;
    this.#stores = stores;
    this.metrics = metrics;
  }

  static async open(settings: Settings): Promise<ClusterImport> {
    const { mysqlUrl } = storesOf(settings);
    await prepareLedger(mysqlUrl, settings.migrate);
    const metrics = await ensureMetrics(mysqlUrl, settings.metrics);
    const stores = await ClusterStores.open(settings);
    return new ClusterImport(settings, stores, metrics);
  }

  /** No store knows them: each process has them of its own settings. */
  get types(): readonly string[] | null {
    return this.#settings.types;
  }

  get partitions(): number {
    return this.#stores.partitions;
  }

  async last(source: string): Promise<number[]> {
    const last: number[] = new Array(SHARDS).fill(0);
    for (const state of await told(this.#settings, () => this.#stores.ledger.lastOf([source])))
      last[state.shard] = state.last;
    return last;
  }

  append(frame: Uint8Array, partition: number): Promise<void> {
    return told(this.#settings, async () => {
      const ends = await this.#send(frame, partition);
      for (const [partition, offset] of ends) this.#ends.set(partition, offset + 1);
      if (++this.#frames % IMPORT_WINDOW_FRAMES !== 0) return;
      await this.#stores.untilApplied(this.#endsBefore);
      this.#endsBefore = this.#ends;
      this.#ends = new Map();
    });
  }

  finish(): Promise<void> {
    return told(this.#settings, async () => {
      await this.#stores.untilApplied(new Map([...this.#endsBefore, ...this.#ends]));
      await this.#untilShown();
      // What a node knows of the others' tallies is as old as that.
      await Bun.sleep(this.#settings.flushMs);
    });
  }

  close(): Promise<void> {
    return this.#stores.close();
  }

  /** What was not acknowledged goes again before anything newer, so numbers have no gaps. */
  async #send(frame: Uint8Array, partition: number): Promise<Map<number, number>> {
    const message = { partition, key: String(partition), value: Buffer.from(frame) };
    const untilMs = performance.now() + IMPORT_WAIT_MS_MAX;
    for (;;) {
      try {
        return await this.#stores.producer.send([message]);
      } catch (error) {
        if (!(error instanceof KafkaAway) || performance.now() > untilMs) throw error;
        await Bun.sleep(POLL_MS);
      }
    }
  }

  /** Until Redis has been told, or while it is away: then reads come from the ledger. */
  async #untilShown(): Promise<void> {
    const hot = openHot(this.#settings);
    const untilMs = performance.now() + IMPORT_WAIT_MS_MAX;
    try {
      const shards = await this.#stores.ledger.shards();
      for (;;) {
        const heads = await hot.heads(ALL_SHARDS);
        const isShown = shards.every((ledger, shard) => !heads[shard] || !isBehind(heads[shard], ledger));
        if (isShown || performance.now() > untilMs) return;
        await Bun.sleep(POLL_MS);
      }
    } catch (error) {
      if (!(error instanceof HotStoreAway)) throw error;
    } finally {
      await hot.close();
    }
  }
}

/** Stores that are away, or refuse us, as a line for a person. */
async function told<T>(settings: Settings, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw commandError(error, settings);
  }
}
