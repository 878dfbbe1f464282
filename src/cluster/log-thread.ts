import { type MessagePort, workerData } from "node:worker_threads";
import { HybridClock } from "../arithmetic/stamp.ts";
import { isSystemError } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { FileLogReader, LogHead, LogWriter } from "../local/log.ts";
import type { Position } from "../ports/log.ts";
import { readFrame } from "../records.ts";
import { CounterTable } from "../tallies/table.ts";
import { log } from "../telemetry/log.ts";
import { ActQueue, answerEach } from "./act-queue.ts";
import { ActsLog } from "./acts-log.ts";
import { AgreedKeeper } from "./agreed-keeper.ts";
import { isAway, tried, troubleOf } from "./away.ts";
import { BulkDesk } from "./bulk-desk.ts";
import { CopyWatch } from "./copy-watch.ts";
import { Freshness } from "./freshness.ts";
import { HiddenActs } from "./hidden-acts.ts";
import { inheritOutbox } from "./inherited.ts";
import { Lane } from "./lane.ts";
import { LateActs } from "./late-acts.ts";
import { ACTS, isActs, LOG_THREAD, type LogData } from "./log-data.ts";
import { LogEnds } from "./log-ends.ts";
import { LogProducers } from "./log-producers.ts";
import { fatal, tell, tellDisk, tellStore } from "./log-tell.ts";
import type { Act, ActAnswer, FromLog, LogCommand, LogQuestion, Shipped, ToLog } from "./messages.ts";
import { groupsOf, Notes } from "./notes.ts";
import { type Notice, tellUnseen } from "./notice.ts";
import { OutboxIndex } from "./outbox-index.ts";
import { OutboxMark } from "./outbox-mark.ts";
import { OwnActs } from "./own-acts.ts";
import { type Parcel, parcelsOf } from "./parcels.ts";
import type { RedisHotStore } from "./redis/hot-store.ts";
import { Resend } from "./resend.ts";
import { Shards } from "./shards.ts";
import { Standstill } from "./standstill.ts";
import { openNotice, openRedis, openSharedLedger } from "./stores.ts";
import { VisitDesk } from "./visit-desk.ts";

/** How often the ledger is asked what it has, and Redis whether it is still the same. */
const LOOK_MS = 500;

/**
 * The log thread: the only one on this node that writes the outbox and sends to Kafka.
 *
 * Acts: what gathered while the last send was under way is stamped, numbered, appended to the outbox, sent, and answered, as
 * much at once as Kafka takes in a message. While Kafka is away they are answered once the disk has them, and go to Kafka from
 * the outbox, in their order.
 * Notes: appended and synced, then sent by a lane of their own, and put into Redis.
 */
class LogThread {
  readonly #data: LogData;
  readonly #outbox: LogWriter;
  readonly #reader: FileLogReader;
  readonly #head: LogHead;
  readonly #mark: OutboxMark;
  readonly #index: OutboxIndex;
  readonly #acts: ActsLog;
  readonly #actLane: Lane;
  readonly #noteLane: Lane;
  readonly #producers: LogProducers;
  readonly #ends: LogEnds;
  readonly #spool: Notice;
  readonly #unseen: Notice;
  readonly #tellUnseen = () => tellUnseen(this.#unseen, this.#actLane.isEmpty ? null : this.#spool);
  readonly #hot: RedisHotStore;
  readonly #agreed: AgreedKeeper;
  readonly #ledger;
  readonly #shards: Shards;
  readonly #notes: Notes;
  readonly #freshness: Freshness;
  readonly #copies: CopyWatch;
  readonly #resend: Resend;
  /** By shard: the epoch of the copy that is known to have all that this outbox holds. */
  readonly #epochs = new Map<number, string>();
  /** Where this run's acts begin in the outbox. */
  readonly #beganAt: Position;
  readonly #late = new LateActs();
  readonly #own: OwnActs;
  readonly #hidden: HiddenActs;
  readonly #visits: VisitDesk;
  readonly #joined = new Map<number, MessagePort>();
  readonly #queue = new ActQueue();
  readonly #bulk: BulkDesk;
  readonly #standstill = new Standstill();
  #isPumping = false;
  #isStopping = false;
  #isCaughtUp = false;
  #lookTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(data: LogData) {
    this.#data = data;
    const { settings, partitions, source } = data;
    this.#head = new LogHead(data.logHead);
    this.#outbox = new LogWriter(data.logFolder, this.#head, { isLoose: true });
    this.#reader = new FileLogReader(data.logFolder, this.#head);
    this.#mark = new OutboxMark(data.logFolder, this.#outbox, new LogHead(data.applied));
    this.#index = new OutboxIndex(this.#mark.position);
    const { hot, agreed } = openRedis(settings);
    this.#hot = hot;
    this.#agreed = new AgreedKeeper(agreed, data.agreed);
    this.#ledger = openSharedLedger(settings, partitions, { word: data.mysqlAway, isTeller: true });
    this.#producers = new LogProducers(settings, partitions);
    this.#ends = new LogEnds(this.#producers.make(), this.#ledger, partitions);
    this.#actLane = this.#lane(isActs);
    this.#noteLane = this.#lane((name) => !isActs(name));
    this.#spool = openNotice(data, "spools", () => this.#actLane.isEmpty);
    this.#unseen = openNotice(data, "unseen", () => this.#hidden.isEmpty);
    const stores = { hot: this.#hot, ledger: this.#ledger };
    this.#shards = new Shards({ ...stores, end: (shard) => this.#ends.of(shard) });
    this.#resend = new Resend({ ...stores, shards: this.#shards, outbox: this.#reader, index: this.#index });
    this.#freshness = new Freshness(data.freshness);
    this.#copies = new CopyWatch({ ...stores, freshness: this.#freshness });
    this.#notes = new Notes({ table: CounterTable.attach(data.table, LOG_THREAD), freshness: this.#freshness });
    this.#hidden = new HiddenActs({ freshness: this.#freshness, hot: this.#hot });
    const old = inheritOutbox(this.#reader, { index: this.#index, notes: this.#notes, hidden: this.#hidden });
    const clock = new HybridClock(Math.max(data.clock, old.time));
    this.#acts = new ActsLog({ log: this.#outbox, keys: old.keys, clock, source: source + ACTS, partitions });
    this.#bulk = new BulkDesk({
      outbox: this.#outbox,
      partitions,
      index: this.#index,
      ship: (parcels) => this.#ship(parcels),
      ...stores,
      shards: this.#shards,
      lost: (shard) => void this.#epochs.delete(shard),
    });
    this.#beganAt = this.#head.position;
    this.#own = new OwnActs({ outbox: this.#reader, index: this.#index, durable: this.#beganAt });
    const own = { outbox: this.#reader, index: this.#index, inheritsUpTo: old.visitorsUpTo };
    this.#visits = new VisitDesk(data, { ...own, ledger: this.#ledger, log: (acts) => this.#log(acts) });
    this.#hot.onState((state) => {
      if (!state.up) return;
      this.#epochs.clear();
      this.#agreed.lost();
    });
    data.commands.on("message", (message: LogCommand) => this.#command(message));
    // Until its first connection stands, or has failed, Redis is not away.
    void this.#hot.checkServer().then(this.#look, this.#look);
  }

  #command(message: LogCommand): void {
    switch (message.kind) {
      case "join":
        this.#join(message.thread, message.port);
        break;
      case "left":
        this.#joined.get(message.thread)?.close();
        this.#joined.delete(message.thread);
        break;
      case "note":
        this.#note(message.id, Buffer.from(message.frame.buffer, message.frame.byteOffset, message.frame.byteLength));
        break;
      case "agreed":
        this.#agreed.set(message.agreed);
        break;
      case "stop":
        void this.#stop();
    }
  }

  #join(thread: number, port: MessagePort): void {
    this.#joined.set(thread, port);
    const reply = (id: number, answer: FromLog["answer"]) => port.postMessage({ id, answer } satisfies FromLog);
    port.on("message", (asked: ToLog) => void this.#ask(asked).then((answer) => reply(asked.id, answer), fatal));
  }

  async #ask(question: LogQuestion): Promise<FromLog["answer"]> {
    switch (question.kind) {
      case "acts":
        return this.#log(question.acts);
      case "bulk":
        return this.#bulk.log(question.source, question.events, () => void this.#pump());
      case "end":
        return this.#ends.of(question.shard).catch(() => null);
      case "visits":
        return this.#visits.visits(question.visits);
      case "distinct":
        return this.#visits.distinct(question.metric, question.subject);
      case "own":
        return question.questions.map((each) => this.#own.find(each));
      case "own-counts":
        return this.#own.counts();
      case "unseen":
        return this.#tellUnseen();
      case "kafka":
        return this.#producers.trouble === null;
    }
  }

  #log(acts: Act[]): Promise<ActAnswer[]> {
    const answers = this.#queue.add(acts);
    void this.#pump();
    return answers;
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      // In turns: single acts wait for one block at most.
      while (!this.#queue.isEmpty || this.#bulk.isWaiting) {
        const batch = this.#queue.next();
        if (batch.length > 0) await this.#take(batch);
        await this.#bulk.next();
        tellDisk(this.#outbox.trouble);
      }
    } catch (error) {
      fatal(error);
    } finally {
      this.#isPumping = false;
    }
  }

  async #take(batch: ReturnType<ActQueue["next"]>): Promise<void> {
    const all = batch.flatMap(({ acts }) => acts);
    const { answers, logged, parcels, atMs } = this.#acts.append(all);
    for (const { frame, bytes, end } of parcels) this.#index.add(frame, end, bytes.length);
    fault("cluster.acts.appended");
    const shipped = await this.#ship(parcels);
    for (const each of logged) Object.assign(each, shipped);
    fault("cluster.acts.shipped");
    this.#visits.logged(all, answers, { end: parcels.at(-1)?.end ?? 0, atMs });
    answerEach(batch, answers);
  }

  /** Into Kafka, or, where that is away, it stays on the disk for sure. */
  async #ship(parcels: readonly Parcel[]): Promise<Shipped> {
    const isShipped = await this.#actLane.ship(parcels);
    if (!isShipped) this.#outbox.sync();
    this.#own.durable(parcels.at(-1)?.end ?? 0);
    return { isShipped, isTold: isShipped || (await this.#spool.tell()) };
  }

  #note(id: number, frame: Buffer): void {
    const { source, records } = readFrame(frame);
    try {
      const end = this.#outbox.append(frame);
      // Of a note that the disk refused Redis would never hear, and its shards would wait for it for ever.
      this.#notes.appended(records);
      this.#index.add({ source, records }, end, frame.length);
      fault("cluster.note.appended");
      tell({ kind: "noted", id, end });
      void this.#noteLane.ship(parcelsOf(frame, end, this.#data.partitions)).catch(fatal);
      void this.#putNote(source, records).catch(fatal);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      tell({ kind: "refused", id, message: error.message });
    }
    tellDisk(this.#outbox.trouble);
  }

  /** What fails here is put again by `#look`, once the store is back. */
  async #putNote(source: string, records: ReturnType<typeof readFrame>["records"]): Promise<void> {
    const puts = groupsOf(source, records);
    const runs = puts.map(({ shard }) => this.#notes.runOf(shard));
    const tick = this.#freshness.tick();
    try {
      const answers = await this.#hot.putTallies(puts);
      for (const [i, { shard, group }] of puts.entries()) {
        const counts = answers[i];
        if (Array.isArray(counts)) this.#notes.confirm(shard, { run: runs[i] as number, group, counts, tick });
        else this.#epochs.delete(shard);
      }
      fault("cluster.note.put");
    } catch (error) {
      if (!isAway(error)) throw error;
      for (const { shard } of puts) this.#epochs.delete(shard);
    }
  }

  // The ledger's progress, and Redis's losses

  readonly #look = async (): Promise<void> => {
    const mysql = await tried(() => this.#askLedger());
    const redis = await tried(async () => {
      await this.#agreed.keep();
      if (!this.#isCaughtUp) await this.#shards.fill();
      await this.#askRedis(mysql === null);
    });
    if (mysql === null) await tried(() => this.#copies.look());
    if (mysql === null && redis === null) {
      if (!this.#isCaughtUp) tell({ kind: "caught-up" });
      this.#isCaughtUp = true;
      await tried(() => this.#putLeft());
    }
    const hidden = await tried(() => this.#hidden.tell(() => this.#actLane.isEmpty));
    if (this.#isStopping) return;
    tellStore("mysql", isAway(mysql) ? (mysql as Error).message : null);
    tellStore("redis", this.#hot.state.up ? troubleOf(hidden) : this.#hot.state.reason);
    if (this.#hot.state.up) this.#own.forget();
    this.#late.answered(this.#own.durableUpTo);
    if (!this.#actLane.isEmpty) void this.#spool.tell();
    if (redis !== null && !this.#hidden.isEmpty) void this.#tellUnseen();
    void this.#actLane.look();
    const { trouble } = this.#producers;
    if (trouble !== undefined) tellStore("kafka", trouble);
    this.#outbox.probe();
    tellDisk(this.#outbox.trouble);
    this.#lookTimer = setTimeout(this.#look, LOOK_MS);
  };

  async #askLedger(): Promise<void> {
    const sources = this.#index.sources();
    // With nothing to ask for it is asked all the same, to know whether it is there.
    if (sources.length === 0) await this.#ledger.positions();
    else this.#index.take(await this.#ledger.lastOf(sources));
    this.#mark.moveTo(this.#index.applied);
    await this.#visits.inherit();
    this.#standstill.look(this.#index.applied, this.#index.sources().length > 0);
    this.#sendAgain();
  }

  /**
   * The ledger does not come on although Kafka has everything: no projector runs, or Kafka has lost what it acknowledged.
   * Nobody can tell from here, so it is sent again, ever more seldom; what is there already is skipped by its numbers.
   */
  #sendAgain(): void {
    if (!this.#actLane.isEmpty || !this.#noteLane.isEmpty || !this.#standstill.isTooLong()) return;
    log.warn("the ledger has not taken what is in the log: it is sent again", { againMs: this.#standstill.waitMs });
    this.#actLane.rewind(this.#index.applied);
    this.#noteLane.rewind(this.#index.applied);
  }

  /** Whether each shard still has what this outbox has for it. What is put again the ledger must just have been asked about. */
  async #askRedis(isLedgerAsked: boolean): Promise<void> {
    const shards = [...new Set([...this.#index.shards(), ...this.#notes.unsettled()])];
    if (shards.length === 0) return;
    const heads = await this.#hot.heads(shards);
    const due = new Map<number, number>();
    for (const [i, shard] of shards.entries()) {
      const head = heads[i];
      if (!head || head.epoch !== this.#epochs.get(shard)) this.#agreed.lost();
      if (!head) await this.#shards.repair(shard);
      else if (this.#epochs.get(shard) !== head.epoch) due.set(shard, this.#notes.lastOf(shard));
    }
    if (due.size === 0 || !isLedgerAsked) return;
    const epochs = new Map(shards.map((shard, i) => [shard, heads[i]?.epoch]));
    // Only what is durable may be shown: a power cut could take the rest back, and Redis would have it for ever.
    this.#outbox.sync();
    const shardsDue = new Set(due.keys());
    // What is decided is not put again: a copy that is behind would show less of it than this node has.
    const versions = await this.#ledger.shards();
    for (const shard of shardsDue) this.#freshness.shownAt(shard, versions[shard]?.version ?? 0);
    // The new epoch's end may be read before the rest of the spool is in Kafka.
    if (!this.#actLane.isEmpty) for (const shard of shardsDue) this.#freshness.hide(shard);
    await this.#resend.notes(shardsDue);
    const leftUpTo = Math.max(this.#beganAt, this.#late.leftUpTo);
    await this.#resend.acts(shardsDue, leftUpTo);
    if (due.size === shards.length) this.#hidden.allPut(leftUpTo);
    this.#late.add(shardsDue, this.#own.durableUpTo);
    for (const [shard, last] of due) {
      const epoch = epochs.get(shard);
      // A note that came meanwhile confirms itself only: those before it are put once more.
      if (this.#notes.confirmAll(shard, last) && epoch !== undefined) this.#epochs.set(shard, epoch);
      this.#hidden.shown(shard);
    }
  }

  /** Acts that nobody puts himself any more. */
  async #putLeft(): Promise<void> {
    const put = (shards: ReadonlySet<number>, upTo: Position, from?: Position) => {
      this.#outbox.sync();
      return this.#resend.acts(shards, upTo, from);
    };
    await this.#late.each(put);
    await this.#hidden.put({ answeredUpTo: this.#own.durableUpTo, leftUpTo: this.#late.leftUpTo }, put);
  }

  #lane(isMine: (source: string) => boolean): Lane {
    return new Lane({
      producer: this.#producers.make(),
      reader: new FileLogReader(this.#data.logFolder, this.#head),
      partitions: this.#data.partitions,
      head: () => this.#head.position,
      isMine,
      applied: () => this.#index.applied,
      from: this.#mark.position,
      ownFrom: this.#head.position,
    });
  }

  async #stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#lookTimer);
    while (this.#isPumping) await Bun.sleep(2);
    const until = performance.now() + 2_000;
    while (!(this.#actLane.isEmpty && this.#noteLane.isEmpty) && performance.now() < until) await Bun.sleep(10);
    this.#outbox.close();
    const parts = [this.#actLane, this.#noteLane, this.#ends, this.#spool, this.#unseen, this.#ledger, this.#mark];
    for (const each of parts) each.close();
    await this.#hot.close();
    for (const port of this.#joined.values()) port.close();
    tell({ kind: "stopped" });
    this.#data.commands.close();
  }
}

const data = workerData as LogData;
new LogThread(data);
tell({ kind: "ready" });
