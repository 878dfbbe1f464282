import { SHARDS } from "../arithmetic/shard.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import type { Settings } from "../config.ts";
import { type CountName, type HotStore, isSameState } from "../ports/hot-store.ts";
import type { Say, Verified } from "../ports/verified.ts";
import { inWords } from "../rankings/check.ts";
import { agreedTopics } from "./agreed-topics.ts";
import { FilterCheck } from "./check-filters.ts";
import { FilterFiller } from "./filter-filler.ts";
import { logTopic } from "./kafka/client.ts";
import { KafkaProducer } from "./kafka/producer.ts";
import { LogEnds } from "./log-ends.ts";
import { checkSketches } from "./mysql/check-sketches.ts";
import { checkKeptSteps, unseatRanker } from "./mysql/check-steps.ts";
import { MetricNames } from "./mysql/metric-names.ts";
import { raiseVersion } from "./mysql/raise-version.ts";
import type { MysqlLedgerReader } from "./mysql/reads.ts";
import { recount } from "./mysql/recount.ts";
import { Inspector, type OverlayEntry } from "./redis/inspector.ts";
import { parseCount } from "./redis/names.ts";
import { openDriver } from "./redis/open-driver.ts";
import { commandError } from "./refused.ts";
import { Shards } from "./shards.ts";
import { openHot, openSharedLedger, storesOf } from "./stores.ts";

/** A shard changes while it is looked at: so often it is tried until ledger and Redis are seen at one version. */
const TRIES = 40;
const PAUSE_MS = 25;
const PAGE = 2_000;
/** What is put into Redis and not in Kafka by then is not on its way there; after so long again the ledger has what Kafka had. */
const SENT_MS_MAX = 3_000;
const APPLIED_MS_MAX = 10_000;

/**
 * Recounts the ledger from its rows, and compares with it what Redis has of each shard at the same version: every base that is
 * loaded, what is on its way with its sums, and what its filter denies. Beside servers that count; needs no node, only the stores.
 */
export async function verifyCluster(settings: Settings, repair: boolean, say: Say): Promise<Verified> {
  const verify = new Verify(settings, repair, say);
  try {
    return await verify.run();
  } catch (error) {
    throw commandError(error, settings);
  } finally {
    await verify.close();
  }
}

class Verify {
  readonly #settings: Settings;
  readonly #repair: boolean;
  readonly #say: Say;
  readonly #hot: HotStore;
  readonly #driver;
  readonly #inspector: Inspector;
  readonly #ends: KafkaProducer;
  readonly #result: Verified = { differences: 0, mended: 0, counters: 0, registers: 0, frames: 0 };
  #ledger: MysqlLedgerReader | null = null;
  #shards: Shards | null = null;
  #names = new MetricNames(new Map());
  /** By shard: of each source the highest number on its way that the ledger had not decided. */
  readonly #undecided = new Map<number, Map<string, number>>();

  constructor(settings: Settings, repair: boolean, say: Say) {
    this.#settings = settings;
    this.#repair = repair;
    this.#say = say;
    const stores = storesOf(settings);
    this.#hot = openHot(settings);
    this.#driver = openDriver(stores);
    this.#inspector = new Inspector(this.#driver, stores.prefix);
    this.#ends = new KafkaProducer(settings, { topic: logTopic(settings.prefix) });
  }

  async run(): Promise<Verified> {
    const partitions = await agreedTopics(this.#settings);
    await this.#ends.start();
    const ledger = openSharedLedger(this.#settings, partitions);
    this.#ledger = ledger;
    const ends = new LogEnds(this.#ends, ledger, partitions);
    const end = (shard: number) => ends.of(shard);
    this.#shards = new Shards({ hot: this.#hot, ledger, end });
    await this.#driver.checkServer();
    this.#names = await MetricNames.read(storesOf(this.#settings).mysqlUrl);
    await this.#recount();
    await this.#sketches();
    await this.#rankings();
    for (let shard = 0; shard < SHARDS; shard++) await this.#overlay(shard);
    await this.#unsent(ends);
    await this.#bases(ledger);
    await this.#filters(ledger);
    return this.#result;
  }

  async close(): Promise<void> {
    this.#ledger?.close();
    this.#ends.close();
    await Promise.all([this.#hot.close(), this.#driver.close()]);
  }

  async #recount(): Promise<void> {
    const { mysqlUrl } = storesOf(this.#settings);
    const found = recount(mysqlUrl, { repair: this.#repair });
    for (let next = await found.next(); ; next = await found.next()) {
      if (next.done) {
        this.#result.counters = next.value;
        return;
      }
      const { what, metric, subject, found: has, expected, mended } = next.value;
      this.#differs(
        `MySQL: ${what} of ${this.#countOf({ metric, subject })} is ${has}, its rows say ${expected}`,
        mended,
      );
    }
  }

  async #sketches(): Promise<void> {
    const { mysqlUrl } = storesOf(this.#settings);
    for await (const { metric, subject, day, found, expected, mended } of checkSketches(mysqlUrl, this.#repair)) {
      this.#differs(
        `MySQL: sketch of ${this.#countOf({ metric, subject })}, day ${day}: ${found} instead of ${expected}`,
        mended,
      );
    }
  }

  /** Behind the recount: of what that mends nothing falls in an hour, but the ranking `all` begins with the counts. */
  async #rankings(): Promise<void> {
    const { mysqlUrl } = storesOf(this.#settings);
    const found = await checkKeptSteps(mysqlUrl, { repair: this.#repair, nowMs: Date.now() });
    for (const text of inWords(found, (name) => this.#countOf(name))) this.#differs(text, this.#repair);
    if (this.#result.mended > 0) await unseatRanker(mysqlUrl);
  }

  /** What is on its way: the sums against the entries, and the ledger's stamps under them at the same version. */
  async #overlay(shard: number): Promise<void> {
    let problems: string[] = [];
    let undecided = new Map<string, number>();
    for (let tries = 0; tries < TRIES; tries++) {
      await this.#wait(shard, tries);
      const overlay = await this.#inspector.overlay(shard);
      if (overlay === null) return;
      problems = [];
      undecided = new Map();
      for (const count of new Set([...overlay.sums.keys(), ...overlay.recounted.keys()])) {
        const [has = 0, expected = 0] = [overlay.sums.get(count), overlay.recounted.get(count)];
        if (has !== expected)
          problems.push(
            `the sum on its way of ${this.#countOf(parseCount(count))} is ${has}, its entries say ${expected}`,
          );
      }
      // Redis may know nothing of a source that has retired; the ledger does.
      const sources = [...new Set(overlay.entries.map(({ source }) => source))];
      const { version, stamps } = await this.#known.versionOf(shard, overlay.registers, [], sources);
      // Between commit and advance: look again.
      if (!isSameState(version, overlay)) continue;
      const last = new Map(version.last);
      for (const entry of overlay.entries) {
        const { source, n } = entry;
        if (n <= (last.get(source) ?? 0))
          problems.push(`${this.#entryName(entry)} is on its way, and the ledger has decided it`);
        else if (!entry.isNote) undecided.set(source, Math.max(n, undecided.get(source) ?? 0));
      }
      for (const [i, { metric, subject, actor, under }] of overlay.registers.entries()) {
        if (stamps[i] === under) continue;
        problems.push(
          `${this.#countOf({ metric, subject })} of ${actor} rests on ${under}, the ledger has ${stamps[i]}`,
        );
      }
      if (problems.length === 0) break;
    }
    if (undecided.size > 0) this.#undecided.set(shard, undecided);
    const isMended = problems.length > 0 && this.#repair && (await this.#mend(shard));
    for (const problem of problems) this.#differs(`Redis, shard ${shard}: ${problem}`, isMended);
  }

  /**
   * Acts that are on their way and in no log: their node has stopped before it could send them, or has lost its disk. What was
   * seen on its way is in Kafka a moment later, and in the ledger when that is past the log's end of then. Where the end cannot
   * be told, as a running node has acts that it could not send yet, or nobody brings the log into the ledger, nothing can be said;
   * nor of notes, of which nobody tells that they wait. Nothing is taken away: a disk that comes back has them, and what others
   * do meanwhile must see them.
   */
  async #unsent(ends: LogEnds): Promise<void> {
    if (this.#undecided.size === 0) return;
    await Bun.sleep(SENT_MS_MAX);
    // All ends at once: under load each one that is asked for later takes a while until the ledger has come so far.
    const bounds = await Promise.all(
      Array.from(this.#undecided, async ([shard, highest]) => {
        // Once more: a leader may have moved, which the client only learns by asking.
        const end = await ends.of(shard).catch(() => ends.of(shard).catch(() => null));
        return { shard, highest, end };
      }),
    );
    const until = performance.now() + APPLIED_MS_MAX;
    for (const { shard, highest, end } of bounds) {
      if (end === null || !(await this.#isApplied(shard, end, until))) continue;
      const overlay = await this.#inspector.overlay(shard);
      const { version } = await this.#known.versionOf(shard, [], [], [...highest.keys()]);
      const last = new Map(version.last);
      for (const entry of overlay?.entries ?? []) {
        const { source, n } = entry;
        if (entry.isNote || n > (highest.get(source) ?? 0) || n <= (last.get(source) ?? 0)) continue;
        const what = this.#entryName(entry);
        this.#differs(
          `Redis, shard ${shard}: ${what} is on its way, and in no log: start the node that took it`,
          false,
        );
      }
    }
  }

  async #isApplied(shard: number, end: number, until: number): Promise<boolean> {
    for (;;) {
      const { version } = await this.#known.versionOf(shard, [], []);
      if (version.position >= end) return true;
      if (performance.now() > until) return false;
      await Bun.sleep(PAUSE_MS);
    }
  }

  #entryName({ name, count }: OverlayEntry): string {
    return count === undefined ? name : `${this.#countOf(count)} ${name}`;
  }

  /** Every base that is loaded against the ledger's count at the same version. */
  async #bases(ledger: MysqlLedgerReader): Promise<void> {
    let after = "";
    for (;;) {
      const page = await ledger.countNames(after, PAGE);
      const byShard = Map.groupBy(page, ({ subject }) => shardOf(subject));
      await Promise.all(Array.from(byShard, ([shard, names]) => this.#basesOf(shard, names)));
      if (page.length === 0) return;
      after = page.at(-1)?.subject as string;
    }
  }

  async #basesOf(shard: number, names: readonly CountName[]): Promise<void> {
    for (let tries = 0; tries < TRIES; tries++) {
      await this.#wait(shard, tries);
      const there = await this.#inspector.bases(shard, names);
      if (there === null) return;
      const stored = await this.#known.bases(names.map((name) => ({ shard, ...name })));
      if (!stored.every((one) => isSameState(one, there))) continue;
      const differing = names.flatMap((name, i) => {
        const [base, count] = [there.bases[i], stored[i]?.count];
        return base === null || base === count
          ? []
          : [`the base of ${this.#countOf(name)} is ${base}, the ledger has ${count}`];
      });
      const isMended = differing.length > 0 && this.#repair && (await this.#mend(shard));
      for (const problem of differing) this.#differs(`Redis, shard ${shard}: ${problem}`, isMended);
      return;
    }
    this.#differs(`Redis, shard ${shard}: it and the ledger do not come to the same version`, false);
  }

  /**
   * Before it is looked at again. One that stays behind the ledger is brought up to it, as anyone does who meets it: no server may
   * run, and the ledger may be newer because it was mended just now.
   */
  async #wait(shard: number, tries: number): Promise<void> {
    if (tries > 0) await Bun.sleep(PAUSE_MS);
    if (tries === TRIES >> 1) await this.#shards?.repair(shard);
  }

  async #filters(ledger: MysqlLedgerReader): Promise<void> {
    const check = new FilterCheck({
      inspector: this.#inspector,
      ledger,
      filler: new FilterFiller(this.#hot, ledger),
      nameOf: (metric) => this.#names.of(metric),
      repair: this.#repair,
      differs: (text, isMended) => this.#differs(text, isMended),
      tries: TRIES,
      pauseMs: PAUSE_MS,
    });
    await check.run();
    this.#result.registers = check.registers;
  }

  /** A new version in the ledger makes everyone drop the bases and rest the overlay on what the ledger has. */
  async #mend(shard: number): Promise<boolean> {
    await raiseVersion(storesOf(this.#settings).mysqlUrl, shard);
    await this.#shards?.repair(shard);
    await this.#inspector.resum(shard);
    return true;
  }

  #countOf({ metric, subject }: CountName): string {
    return `${this.#names.of(metric)} on ${subject}`;
  }

  get #known(): MysqlLedgerReader {
    if (this.#ledger === null) throw new Error("not begun");
    return this.#ledger;
  }

  #differs(text: string, isMended: boolean): void {
    this.#result.differences++;
    if (isMended) this.#result.mended++;
    this.#say(text, isMended);
  }
}
