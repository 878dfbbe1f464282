import { fault } from "../lib/fault.ts";
import { LAG_MS_MAX } from "../limits.ts";
import type { LogWriter } from "../local/log.ts";
import type { HotStore } from "../ports/hot-store.ts";
import type { LogRecord } from "../records.ts";
import { isAway } from "./away.ts";
import { BulkLog } from "./bulk-log.ts";
import { fatal } from "./log-tell.ts";
import type { BulkLogged, Shipped, StampedEvent } from "./messages.ts";
import { groupsOf } from "./notes.ts";
import type { OutboxIndex } from "./outbox-index.ts";
import type { Parcel } from "./parcels.ts";
import type { Shards } from "./shards.ts";

interface WaitingBulk {
  source: string;
  events: StampedEvent[];
  reply(logged: BulkLogged | null): void;
}

interface BulkDeskParts {
  outbox: LogWriter;
  partitions: number;
  index: OutboxIndex;
  /** As acts go. */
  ship(parcels: readonly Parcel[]): Promise<Shipped>;
  hot: HotStore;
  shards: Shards;
  /** Redis may lack something of the shard: whoever looks after that puts it again. */
  lost(shard: number): void;
}

/** The log thread's blocks of numbered events: into the log as acts go, into Redis as notes go. */
export class BulkDesk {
  readonly #parts: BulkDeskParts;
  readonly #log: BulkLog;
  readonly #waiting: WaitingBulk[] = [];

  constructor(parts: BulkDeskParts) {
    this.#parts = parts;
    this.#log = new BulkLog({ log: parts.outbox, partitions: parts.partitions });
  }

  /** Resolves when it is durable and shown; `added` sees to it that `next` is called. Null: the disk refused it. */
  log(source: string, events: StampedEvent[], added: () => void): Promise<BulkLogged | null> {
    return new Promise((reply) => {
      this.#waiting.push({ source, events, reply });
      added();
    });
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** One of them, up to where it is durable; the next one need not wait for Redis. */
  async next(): Promise<void> {
    const bulk = this.#waiting.shift();
    if (!bulk) return;
    const { index, ship } = this.#parts;
    const { source, events, reply } = bulk;
    const appended = this.#log.append(source, events);
    if (appended === null) return reply(null);
    const { parcels, records } = appended;
    for (const { frame, bytes, end } of parcels) index.add(frame, end, bytes.length);
    fault("cluster-upload.appended");
    const { isShipped, isTold } = await ship(parcels);
    fault("cluster-upload.shipped");
    void this.#put(source, records)
      .then((isPut) => reply({ isShipped, isShown: isPut && isTold }))
      .catch(fatal);
  }

  async #put(source: string, records: readonly LogRecord[][]): Promise<boolean> {
    const { hot, shards, lost } = this.#parts;
    const until = performance.now() + LAG_MS_MAX;
    let due = records.flatMap((each) => groupsOf(source, each));
    try {
      while (due.length > 0 && performance.now() < until) {
        const answers = await hot.putTallies(due);
        due = due.filter((_, i) => !Array.isArray(answers[i]));
        for (const { shard } of due) await shards.repair(shard);
      }
      fault("cluster-upload.put");
    } catch (error) {
      if (!isAway(error)) throw error;
    }
    for (const { shard } of due) lost(shard);
    return due.length === 0;
  }
}
