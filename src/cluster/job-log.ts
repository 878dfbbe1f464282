import type { MessagePort } from "node:worker_threads";
import { SHARDS } from "../arithmetic/shard.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { stampAt } from "../arithmetic/stamp.ts";
import { fault, wallMs } from "../lib/fault.ts";
import type { CountName } from "../ports/hot-store.ts";
import type { RecordOnce } from "../records.ts";
import { FrameWriter, type LogRecord } from "../records.ts";
import type { Flusher } from "../tallies/flusher.ts";
import type { CounterTable } from "../tallies/table.ts";

/** Sets, erasures and merges are of a source of their own, and go the notes' way: behind what this node has counted before. */
export const JOBS = "j";

type Once = RecordOnce | undefined;

/** What a request thread wants to have in the log. */
export type JobRequest =
  | { kind: "set"; metric: number; subject: string; count: number; once: Once }
  | { kind: "erase-subject"; subject: string; metrics: number[]; once: Once }
  | { kind: "erase-actor"; actor: string; once: Once }
  | { kind: "merge"; from: string; to: string; metrics: number[]; once: Once };

export type JobMessage = { id: number; request: JobRequest };

/** The records by which the ledger will know it. */
export interface LoggedJob {
  source: string;
  records: [shard: number, n: number][];
}

export type JobReply = { id: number } & ({ logged: LoggedJob } | { refused: string });

type Unnumbered<T> = T extends unknown ? Omit<T, "n"> : never;

/**
 * Main's part of what administrators ask in a cluster: what this node has counted before goes into the log, and right behind
 * it, in the same lane, the record. The request thread then waits for the ledger (admin.ts).
 */
export class JobLog {
  readonly #table: CounterTable;
  readonly #flusher: Flusher;
  readonly #append: (frame: Uint8Array) => Promise<unknown>;
  readonly #source: string;
  readonly #last = new Float64Array(SHARDS);
  readonly #ports = new Map<number, MessagePort>();

  constructor(parts: {
    table: CounterTable;
    flusher: Flusher;
    append: (frame: Uint8Array) => Promise<unknown>;
    source: string;
  }) {
    this.#table = parts.table;
    this.#flusher = parts.flusher;
    this.#append = parts.append;
    this.#source = parts.source + JOBS;
  }

  /** Answers what comes from a request thread, until it has left. */
  serve(thread: number, port: MessagePort): void {
    this.#ports.set(thread, port);
    port.on("message", ({ id, request }: JobMessage) => {
      this.#log(request).then(
        (logged) => port.postMessage({ id, logged } satisfies JobReply),
        (error) =>
          port.postMessage({ id, refused: error instanceof Error ? error.message : `${error}` } satisfies JobReply),
      );
    });
  }

  left(thread: number): void {
    this.#ports.get(thread)?.close();
    this.#ports.delete(thread);
  }

  stop(): void {
    for (const thread of this.#ports.keys()) this.left(thread);
  }

  #log(request: JobRequest): Promise<LoggedJob> {
    const counters = countersOf(request);
    const slots = () =>
      counters.map(({ metric, subject }) => this.#table.find(metric, subject)).filter((slot) => slot >= 0);
    return this.#flusher.around(slots, Date.now(), async () => {
      return { source: this.#source, records: await this.#write(recordsOf(request)) };
    });
  }

  /** In one frame, also what is of several partitions (parcels.ts): killed here it is in the outbox whole or not at all. */
  async #write(records: readonly Unnumbered<LogRecord>[]): Promise<[number, number][]> {
    const frame = new FrameWriter();
    frame.begin(this.#source);
    const numbers = records.map((record): [number, number] => {
      const n = (this.#last[record.shard] as number) + 1;
      frame.add({ ...record, n } as LogRecord);
      return [record.shard, n];
    });
    fault("cluster-admin.append");
    await this.#append(Uint8Array.from(frame.finish()));
    fault("cluster-admin.appended");
    for (const [shard, n] of numbers) this.#last[shard] = n;
    return numbers;
  }
}

/** The counters of this node that what is asked is about. */
function countersOf(request: JobRequest): CountName[] {
  switch (request.kind) {
    case "set":
      return [request];
    case "erase-subject":
      return request.metrics.map((metric) => ({ metric, subject: request.subject }));
    case "erase-actor":
      return [];
    case "merge":
      return [request.from, request.to].flatMap((subject) => request.metrics.map((metric) => ({ metric, subject })));
  }
}

function recordsOf(request: JobRequest): Unnumbered<LogRecord>[] {
  const { once } = request;
  const erase = { kind: "erase", metric: 0, once } as const;
  switch (request.kind) {
    case "set": {
      const { metric, subject, count } = request;
      return [{ kind: "set", shard: shardOf(subject), metric, subject, count, atMs: Date.now(), once }];
    }
    case "erase-subject": {
      const { subject } = request;
      return [{ ...erase, shard: shardOf(subject), subject, actor: "", stamp: stampAt(wallMs(), false) }];
    }
    case "erase-actor": {
      const stamp = stampAt(wallMs(), false);
      // One record for each shard; the key stands with the first, as of several with one key only one would count.
      return Array.from({ length: SHARDS }, (_, shard) => {
        return { ...erase, shard, subject: "", actor: request.actor, stamp, once: shard === 0 ? once : undefined };
      });
    }
    case "merge": {
      const { from, to } = request;
      return [{ kind: "merge", shard: shardOf(from), metric: 0, subject: from, to, once }];
    }
  }
}
