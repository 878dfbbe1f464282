import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { fault } from "../lib/fault.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { log } from "../telemetry/log.ts";
import { isAway, tried } from "./away.ts";
import { warnOfExpiry } from "./expiry.ts";
import { FilterFiller } from "./filter-filler.ts";
import { Poison } from "./kafka/applier.ts";
import { logTopic } from "./kafka/client.ts";
import { type ConsumerHandlers, LogConsumer } from "./kafka/consumer.ts";
import type { LogMessage as Received } from "./kafka/gather.ts";
import { KafkaProducer } from "./kafka/producer.ts";
import { LagClock } from "./lag-clock.ts";
import { LogEnds } from "./log-ends.ts";
import { logOptions } from "./log-options.ts";
import { Mender } from "./mender.ts";
import type { ProjectorData, ProjectorMessage } from "./messages.ts";
import { MysqlLedgerWriter } from "./mysql/ledger.ts";
import { type AppliedMessages, type Gap, type LogMessage, OlderLedger } from "./mysql/messages.ts";
import { Retirement } from "./mysql/retirement.ts";
import { Retirer } from "./retirer.ts";
import { Shards } from "./shards.ts";
import { openHot, openSharedLedger, storesOf } from "./stores.ts";
import { transactions } from "./transactions.ts";

/** A source sends again what the ledger lacks within seconds; after so long nobody has it any more. */
const GAP_MS_MAX = 10 * 60_000;
/** An act that the ledger has before Redis cannot be told what it changed: puts, which follow at once, get a start. */
const ACTS_FIRST_MS = 100;
const TIDY_EVERY_MS = 30_000;
const MEND_EVERY_MS = 1_000;
/** A commit that Redis was not told of for so long it will not be told of by whoever made it. */
const WATCH_EVERY_MS = 3_000;
const TELL_EVERY_MS = 500;
const EXPIRY_EVERY_MS = 60_000;
/** How long a ledger that cannot be written is tried, and how often it is asked whether it is back. */
const LEAVE_MS = 5_000;
const BACK_MS = 1_000;
const UNREACHABLE = "the ledger cannot be asked from here: other projectors may have this one's partitions";
const OLDER = "the ledger is older than it was, as after a restore: the log is read again from where it is";
/** Larger transactions cost less for each row: 80,000 rows a second against 58,000 with half as many. */
const GATHER_RECORDS = 40_000;

/**
 * Log → ledger → hot store. Any number of these may run: the group gives each some partitions, the rows of the shards keep
 * two that have the same one apart, and numbers decide what is applied.
 *
 *     messages → one transaction → advance the touched shards → forget the actors' hints
 *
 * Dying between any two: the ledger is the truth, and a shard that was not told is found behind and brought up to it, by who
 * acts on it or by the next projector (see Mender).
 */
class ProjectorThread {
  readonly #settings: Settings;
  readonly #writer: MysqlLedgerWriter;
  readonly #reader;
  readonly #hot;
  readonly #shards: Shards;
  readonly #mender: Mender;
  readonly #filler: FilterFiller;
  readonly #retirer: Retirer;
  readonly #ends: LogEnds;
  #consumer: LogConsumer;
  /** Dead letters of consumers before this one. */
  #deadLetters = 0;
  #failingSinceMs = 0;
  #isLeaving = false;
  #isStopping = false;
  /** By partition: the ledger's position as it was read or written here last. */
  #stored = new Map<number, number>();
  /** The ledger's positions, as they were known last. */
  #known: ReadonlyMap<number, number> | null = null;
  readonly #gapsSince = new Map<string, number>();
  #held: LogMessage[] = [];
  /** Offsets of a log that was cut or made again say nothing about those before: it gets another name. */
  #topic: string;
  #records = 0;
  #losses = 0;
  readonly #lagClock = new LagClock();
  readonly #timers: ReturnType<typeof setInterval>[] = [];

  constructor(data: ProjectorData) {
    const { settings, partitions } = data;
    this.#settings = settings;
    this.#topic = logTopic(settings.prefix);
    const { mysqlUrl } = storesOf(settings);
    const { webhooks, historyDays } = settings;
    this.#writer = new MysqlLedgerWriter(mysqlUrl, { webhooks, historyDays });
    this.#reader = openSharedLedger(settings, partitions);
    this.#hot = openHot(settings);
    const producer = new KafkaProducer(settings, logOptions(settings, partitions));
    void producer.start();
    this.#ends = new LogEnds(producer, this.#reader, partitions);
    const end = (shard: number) => this.#ends.of(shard);
    this.#shards = new Shards({ hot: this.#hot, ledger: this.#reader, end });
    this.#mender = new Mender({ hot: this.#hot, ledger: this.#reader, shards: this.#shards });
    this.#filler = new FilterFiller(this.#hot, this.#reader);
    const retirement = new Retirement(mysqlUrl);
    this.#retirer = new Retirer({ ledger: retirement, hot: this.#hot, retentionMs: settings.logRetention });
    this.#consumer = this.#newConsumer();
    data.commands.on("message", () => void this.#stop(data.commands));
    this.#timers.push(setInterval(() => this.#tell(), TELL_EVERY_MS));
    this.#timers.push(setInterval(() => void this.#tidy(), TIDY_EVERY_MS));
    this.#timers.push(setInterval(() => void tried(() => this.#mender.mend()), MEND_EVERY_MS));
    this.#timers.push(setInterval(() => void tried(() => this.#mender.watch()), WATCH_EVERY_MS));
    this.#timers.push(setInterval(() => void tried(() => this.#lookAtPositions()), WATCH_EVERY_MS));
    this.#timers.push(setInterval(() => void tried(() => this.#filler.fill()), MEND_EVERY_MS));
    this.#timers.push(setInterval(() => void tried(() => this.#warnOfExpiry()), EXPIRY_EVERY_MS));
    this.#consumer.start();
  }

  #newConsumer(): LogConsumer {
    const { prefix } = this.#settings;
    const handlers: ConsumerHandlers = {
      positions: async () => {
        this.#mender.suspectAll();
        this.#stored = await this.#ofLedger(() => this.#positions());
        await tried(() => this.#mender.abandonOlder());
        return new Map(this.#stored);
      },
      apply: (messages, positions) => this.#apply(messages, positions),
      alert: ({ kind }) => {
        if (kind !== "ahead") return;
        this.#topic = `${logTopic(prefix)} ${crypto.randomUUID()}`;
        this.#held = [];
      },
      onState: (isUp) => tell({ kind: "store", name: "kafka", state: { isUp, detail: isUp ? "" : "cannot be read" } }),
    };
    return new LogConsumer(this.#settings, handlers, { gatherRecords: GATHER_RECORDS });
  }

  /**
   * MySQL may be away from here only: a projector that cannot write, or read where to begin, gives its partitions to those who
   * can, and comes back when it is answered again. Where the ledger is an older one, that reads where to go on.
   */
  async #leave(why: string): Promise<void> {
    if (this.#isLeaving || this.#isStopping) return;
    this.#isLeaving = true;
    log.warn(why);
    this.#deadLetters += this.#consumer.deadLetters;
    await this.#consumer.stop();
    while (!this.#isStopping && (await this.#reader.positions().catch(() => null)) === null) await Bun.sleep(BACK_MS);
    this.#isLeaving = false;
    this.#failingSinceMs = 0;
    if (this.#isStopping) return;
    this.#held = [];
    this.#consumer = this.#newConsumer();
    this.#consumer.start();
  }

  /** Whether the ledger is an older one: where nothing comes nothing is applied, which would find that out. */
  async #lookAtPositions(): Promise<void> {
    const stored = [...this.#stored];
    const now = await this.#reader.positions();
    if (stored.some(([partition, position]) => (now.get(partition) ?? 0) < position)) void this.#leave(OLDER);
  }

  /** While MySQL is away it has what it had. */
  async #warnOfExpiry(): Promise<void> {
    this.#known = await this.#positions().catch((error) => (isAway(error) ? this.#known : Promise.reject(error)));
    if (this.#known) await warnOfExpiry(this.#settings, this.#known);
  }

  /** Offsets of another topic (another prefix on the same ledger) say nothing about this one. */
  async #positions(): Promise<Map<number, number>> {
    const [positions, topics] = await Promise.all([this.#reader.positions(), this.#reader.topics()]);
    const name = logTopic(this.#settings.prefix);
    for (const partition of positions.keys()) {
      const topic = topics.get(partition);
      if (topic !== name && topic?.startsWith(`${name} `) !== true) positions.delete(partition);
    }
    return positions;
  }

  async #apply(received: readonly Received[], positions: Map<number, number>): Promise<void> {
    // Positions stand at what is held, so it comes again with each assignment, and where a later part failed.
    const held = new Set(this.#held.map(placeOf));
    const messages = (received as readonly LogMessage[]).filter((message) => !held.has(placeOf(message)));
    if (messages.length + this.#held.length === 0 && positions.size === 0) return;
    await Bun.sleep(ACTS_FIRST_MS);
    fault("cluster.projector.apply");
    const parts = transactions(messages);
    for (const [i, part] of parts.entries()) {
      // Positions stand behind all messages.
      const isLast = i === parts.length - 1;
      await this.#applyPart([...this.#held, ...part], isLast ? positions : undefined);
    }
  }

  /** One transaction, and what follows it. Thrown out of the midst, the parts before are found decided the next time. */
  async #applyPart(messages: readonly LogMessage[], positions: ReadonlyMap<number, number> | undefined): Promise<void> {
    const applied = await this.#store(messages, positions);
    fault("cluster.projector.committed");
    this.#held = applied.held;
    this.#note(applied.gaps);
    for (const loss of applied.losses) {
      this.#losses++;
      log.error("records are missing from the log, and nobody has sent them again: they are lost", { ...loss });
    }
    this.#records += applied.records;
    await this.#advance(applied);
  }

  async #store(messages: readonly LogMessage[], positions?: ReadonlyMap<number, number>): Promise<AppliedMessages> {
    const acceptsGap = (gap: Gap) => this.#hasWaited(gap);
    const options = { topic: this.#topic, acceptsGap, stored: this.#stored, ...(positions && { positions }) };
    try {
      const applied = await this.#ofLedger(() => this.#writer.apply(messages, options));
      for (const [partition, position] of applied.positions) this.#stored.set(partition, position);
      return applied;
    } catch (error) {
      if (error instanceof OlderLedger) void this.#leave(OLDER);
      throw error instanceof OlderLedger || error instanceof LedgerUnavailable
        ? error
        : await this.#poison(messages, error);
    }
  }

  /** What it answers; when it has been away for too long others are to do without us. */
  async #ofLedger<T>(ask: () => Promise<T>): Promise<T> {
    try {
      const answer = await ask();
      this.#onMysql(null);
      this.#failingSinceMs = 0;
      return answer;
    } catch (error) {
      this.#onMysql(error);
      if (error instanceof LedgerUnavailable) {
        this.#failingSinceMs ||= Date.now();
        if (Date.now() - this.#failingSinceMs > LEAVE_MS) void this.#leave(UNREACHABLE);
      }
      throw error;
    }
  }

  /**
   * The message that can never be stored: found by storing one after the other, which the numbers allow. None is to blame
   * where the ledger would not take a transaction without it either, whatever it says.
   */
  async #poison(messages: readonly LogMessage[], error: unknown): Promise<unknown> {
    const blame = async (message: LogMessage, why: unknown) =>
      (await this.#writer.isWell()) ? new Poison(message, String(why)) : why;
    if (messages.length === 1) return blame(messages[0] as LogMessage, error);
    let held: LogMessage[] = [];
    for (const message of messages) {
      try {
        // Never alone: the position must not pass what is held.
        const applied = await this.#writer.apply([...held, message], { topic: this.#topic });
        held = applied.held;
        this.#records += applied.records;
        await this.#advance(applied);
      } catch (why) {
        return why instanceof LedgerUnavailable ? why : blame(message, why);
      }
    }
    return error;
  }

  /** What fails here is mended by whoever needs the shard. */
  async #advance({ commits: all, changed, gained }: AppliedMessages): Promise<void> {
    const commits = all.filter(({ shard }) => !changed.includes(shard));
    const others = all.filter(({ shard }) => changed.includes(shard) && !gained.includes(shard));
    try {
      const done = await this.#hot.advance(commits);
      await this.#hot.cover(others);
      fault("cluster.projector.advanced");
      const hints = all.flatMap(({ registers }) =>
        registers.map(([metric, subject, actor, stamp]) => ({ metric, subject, actor, stamp })),
      );
      if (hints.length > 0) await this.#hot.unhintActors(hints);
      const behind = [...commits.filter((_, i) => done[i] === "behind").map(({ shard }) => shard), ...changed];
      this.#filler.want([...gained, ...commits.flatMap(({ shard }, i) => (done[i] === "ok" ? [] : shard))]);
      // One repair may have read the ledger before this commit, and another process may come between: they are looked at again.
      this.#mender.suspect(behind);
      await Promise.all(behind.map((shard) => this.#shards.repair(shard)));
    } catch (error) {
      this.#mender.suspect([...commits.map(({ shard }) => shard), ...changed]);
      if (!isAway(error)) log.limited("advance", 10_000).error("Redis was not told of a commit", { error });
    }
  }

  /** By a clock that nobody sets: a gap that seems to have waited is a loss. */
  #note(gaps: readonly Gap[]): void {
    const now = performance.now();
    const names = new Set(gaps.map(nameOf));
    for (const name of this.#gapsSince.keys()) if (!names.has(name)) this.#gapsSince.delete(name);
    for (const gap of gaps) {
      if (this.#gapsSince.has(nameOf(gap))) continue;
      this.#gapsSince.set(nameOf(gap), now);
      log.warn("a gap in the log: what follows it waits until its source sends again", { ...gap });
    }
  }

  #hasWaited(gap: Gap): boolean {
    const since = this.#gapsSince.get(nameOf(gap));
    return since !== undefined && performance.now() - since > GAP_MS_MAX;
  }

  #onMysql(error: unknown): void {
    const isUp = error === null;
    if (!isUp && !(error instanceof LedgerUnavailable)) return;
    tell({ kind: "store", name: "mysql", state: { isUp, detail: isUp ? "" : (error as Error).message } });
  }

  #tell(): void {
    const { lag } = this.#consumer;
    const lagMs = this.#lagClock.look(performance.now(), this.#consumer.read);
    const deadLetters = this.#deadLetters + this.#consumer.deadLetters;
    tell({ kind: "progress", records: this.#records, lag, lagMs, deadLetters, losses: this.#losses });
  }

  async #tidy(): Promise<void> {
    if (this.#isLeaving) return;
    // The writer does one thing after the other: not while a batch is applied.
    await this.#consumer.pause();
    await tried(async () => {
      while (await this.#writer.tidy());
    });
    this.#consumer.resume();
  }

  async #stop(commands: MessagePort): Promise<void> {
    this.#isStopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#filler.stop();
    this.#retirer.stop();
    await Promise.race([this.#consumer.stop(), Bun.sleep(4_000)]);
    this.#ends.close();
    await this.#writer.close();
    this.#reader.close();
    await this.#hot.close();
    tell({ kind: "stopped" });
    commands.close();
  }
}

/** Offsets alone may be those of a log that was made again. */
function placeOf({ partition, offset, frame: { source, records } }: LogMessage): string {
  return `${partition} ${offset} ${source} ${records[0]?.shard} ${records[0]?.n}`;
}

function nameOf({ source, shard, from }: Gap): string {
  return `${source} ${shard} ${from}`;
}

function tell(message: ProjectorMessage): void {
  parentPort?.postMessage(message);
}

const data = workerData as ProjectorData;
new ProjectorThread(data);
tell({ kind: "ready" });
