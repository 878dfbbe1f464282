import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { endChildren } from "./children.ts";
import { type Filled, fill } from "./fill.ts";
import { type FillPlan, requestsIn } from "./fill-plan.ts";
import { settled } from "./gauges.ts";
import { type Load, oha, type Run, type RunOptions } from "./oha.ts";
import type { Options } from "./options.ts";
import { cpuSecondsOf } from "./process.ts";
import { ROOT, Scratch } from "./scratch.ts";
import { type Server, startServer } from "./server.ts";
import { type Stores, startStores } from "./stores.ts";
import { type ServerRun, type Summary, summaryOf } from "./summary.ts";

const BARE = join(import.meta.dir, "bare.ts");
/** The default of `--workers`. */
const WORKERS_MAX = 8;
/** What a run leaves behind must be in the ledger this soon. */
const SETTLE_SECONDS_MAX = 120;
const SETTLED_PER_SECOND_MIN = 10_000;

/** One of two sides that take turns; it starts what it needs and says how a run went. */
export type Side = () => Promise<ServerRun>;

/** Both sides after all rounds. */
export interface Comparison {
  readonly tally: Summary;
  readonly against: Summary;
  /** Requests a second of Tally against the other's. */
  readonly ratio: number;
}

/** What every row needs: servers to measure, and runs. */
export class Bench {
  readonly options: Options;
  readonly scratch = new Scratch();
  readonly workers = Math.min(availableParallelism(), WORKERS_MAX);
  readonly #stores: Stores[] = [];

  constructor(options: Options) {
    this.options = options;
  }

  /** What is run as `tally`. */
  command(): string[] {
    if (this.options.source) return [process.execPath, join(ROOT, "src/main.ts")];
    const binary = process.env.TALLY_BINARY ?? join(ROOT, "dist/tally");
    if (!existsSync(binary)) throw new Error(`no ${binary}: npm run build makes it, --source does without`);
    return [binary];
  }

  /** Tally with its default settings, except that several can run side by side. */
  startTally(data: string, flags: readonly string[] = []): Promise<Server> {
    const ports = ["--port", "0", "--grpc-port", "0"];
    return startServer([...this.command(), "serve", ...ports, "--data", data, ...flags], { cwd: data });
  }

  /** A Redis, a MariaDB and a Kafka, empty. */
  async startStores(): Promise<Stores> {
    const stores = await startStores();
    this.#stores.push(stores);
    return stores;
  }

  /** A node of a cluster, with an empty data directory. */
  startNode(stores: Stores, flags: readonly string[] = []): Promise<Server> {
    return this.startTally(this.scratch.directory(), [...stores.flags, ...flags]);
  }

  /** Bun.serve with as many workers, which gives every request this answer. */
  startBare(body: unknown): Promise<Server> {
    const command = [process.execPath, BARE, String(this.workers), JSON.stringify(body)];
    return startServer(command, { cwd: this.scratch.directory() });
  }

  /** A size of the data: the one of the goals, or one that is quick to make. */
  size(full: number, options: { quick: number }): number {
    return this.options.quick ? options.quick : full;
  }

  /** A run that counts, after one that warms up. */
  async run(server: Server, load: Load, options: Partial<RunOptions> = {}): Promise<ServerRun> {
    await oha(server.url, load, { ...options, seconds: this.options.warmupSeconds });
    const before = cpuSecondsOf(server.pid);
    const run = await oha(server.url, load, { seconds: this.options.seconds, ...options });
    const cpuSeconds = cpuSecondsOf(server.pid) - before;
    return { ...run, cpuMicrosPerRequest: (cpuSeconds / run.requests) * 1e6 };
  }

  /** A load beside what is measured. */
  load(server: Server, load: Load, options: RunOptions): Promise<Run> {
    return oha(server.url, load, options);
  }

  /** A run that does not count, before the first round: Java and Bun translate for some seconds what runs often. */
  async warm(server: Server, load: Load): Promise<void> {
    this.say("  warming up");
    await oha(server.url, load, { seconds: this.options.seconds });
    await this.quiet(server);
  }

  /** Lets both sides take turns; the one that begins changes, so that neither profits from what drifts. */
  async compare(sides: { tally: Side; against: Side }): Promise<Comparison> {
    const tally: ServerRun[] = [];
    const against: ServerRun[] = [];
    for (let round = 0; round < this.options.rounds; round++) {
      const turns = [async () => tally.push(await sides.tally()), async () => against.push(await sides.against())];
      for (const turn of round % 2 === 0 ? turns : turns.reverse()) await turn();
      this.say(`  round ${round + 1}: ${rate(tally[round])}/s against ${rate(against[round])}/s`);
    }
    const [ours, theirs] = [summaryOf(tally), summaryOf(against)];
    return { tally: ours, against: theirs, ratio: ours.requestsPerSecond / theirs.requestsPerSecond };
  }

  /** Waits until a server has nothing left to do, so that it leaves the machine to the next run; how long that took. */
  quiet(server: Server, options: { secondsMax?: number } = {}): Promise<number> {
    return settled(server.url, { secondsMax: options.secondsMax ?? SETTLE_SECONDS_MAX });
  }

  /** Sends a plan to a server and waits until the ledger has it. */
  async fill(server: Server, plan: FillPlan): Promise<Filled> {
    const filled = await this.fillOnly(server, plan);
    await this.quiet(server, { secondsMax: SETTLE_SECONDS_MAX + filled.requests / SETTLED_PER_SECOND_MIN });
    return filled;
  }

  /** Sends a plan to a server. */
  async fillOnly(server: Server, plan: FillPlan): Promise<Filled> {
    this.say(`  filling with ${requestsIn(plan).toLocaleString("en")} ${plan.kind}`);
    const filled = await fill(server.url, plan);
    const perSecond = Math.round(filled.requests / filled.seconds).toLocaleString("en");
    this.say(`  filled in ${filled.seconds.toFixed(1)} s, ${perSecond}/s`);
    return filled;
  }

  /** Between two rows: ends what a row that failed has left running, and frees the disk. */
  async clear(): Promise<void> {
    await endChildren();
    await Promise.all(this.#stores.splice(0).map((stores) => stores.stop()));
    this.scratch.clear();
  }

  /** Progress, beside the report. */
  say(line: string): void {
    console.error(line);
  }
}

function rate(run: ServerRun | undefined): string {
  return run ? Math.round(run.requestsPerSecond).toLocaleString("en") : "?";
}
