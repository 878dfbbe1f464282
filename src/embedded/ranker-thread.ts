import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { wallMs } from "../lib/fault.ts";
import { RANKED_UNASKED_MAX, RANKED_UNASKED_MS, TOP_LENGTH } from "../limits.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import type { FromRanker, ToRanker } from "../rankings/messages.ts";
import { Ranker } from "../rankings/ranker.ts";
import { Wanted } from "../rankings/wanted.ts";
import { log } from "../telemetry/log.ts";
import { asUnavailable } from "./ledger.ts";
import type { RankerCommand, RankerData } from "./ranker-link.ts";
import { SqliteSteps } from "./steps.ts";

/** How often it looks whether something has changed. */
const LOOK_MS = 100;
/** Lists are worked out again at most so often, and for at most a fifth of the time. */
const LISTS_MS = 250;
const LISTS_SHARE = 5;
/** Where the disk is full. */
const RETRY_MS = 1_000;
/** Where the ledger has what cannot be read. */
const BROKEN_MS = 10_000;

/** Ranks in a thread of its own: a look at a million subjects may take it a while, and nobody waits for it. */
class RankerThread {
  readonly #ranker: Ranker;
  readonly #steps: SqliteSteps;
  readonly #wanted = new Wanted<MessagePort>();
  readonly #ports = new Set<MessagePort>();
  #isStopping = false;
  /** No changes are being taken in; a beginning takes long, and lets others in meanwhile. */
  #isWhole = false;
  /** Changes that no list shows yet. */
  #isStale = false;
  #listsAtMs = 0;
  #retryAtMs = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor({ ledgerPath, candidates, halfLifeS }: RankerData) {
    this.#steps = new SqliteSteps(ledgerPath);
    this.#ranker = new Ranker(this.#steps, { candidates, halfLifeS, unaskedMax: RANKED_UNASKED_MAX });
  }

  async run(): Promise<void> {
    while (!this.#isStopping) {
      await Bun.sleep((await this.#look()) ? 0 : LOOK_MS);
    }
    this.#steps.close();
    for (const port of this.#ports) port.close();
    parentPort?.close();
  }

  command(command: RankerCommand): void {
    if (command.kind === "stop") {
      this.#isStopping = true;
      this.#steps.interrupt();
      return;
    }
    if (command.kind === "anew") {
      this.#ranker.beginAnew();
      this.#retryAtMs = 0;
      return;
    }
    const { port } = command;
    this.#ports.add(port);
    port.on("message", (name: ToRanker) => this.#want(name, port));
    port.on("close", () => {
      this.#ports.delete(port);
      this.#wanted.remove(port);
    });
  }

  /** True: there is more to do at once. */
  async #look(): Promise<boolean> {
    if (performance.now() < this.#retryAtMs) return false;
    try {
      this.#isWhole = false;
      const isWanted = performance.now() - this.#askedAtMs < RANKED_UNASKED_MS;
      if (await this.#ranker.step(Math.floor(wallMs() / 1000), isWanted)) this.#isStale = true;
      if (this.#ranker.isResting) return await this.#ranker.tend();
      this.#isWhole = true;
      const nowMs = performance.now();
      if (!this.#isStale) {
        for (const port of this.#ports) tell(port, { kind: "current" });
        return await this.#ranker.tend();
      }
      if (nowMs < this.#listsAtMs) return false;
      for (const { name, who } of this.#wanted.now(nowMs)) this.#tell(name, who);
      this.#isStale = false;
      const tookMs = performance.now() - nowMs;
      this.#listsAtMs = nowMs + Math.max(LISTS_MS, LISTS_SHARE * tookMs);
    } catch (error) {
      if (this.#isStopping) return false;
      const isUnavailable = asUnavailable(error) instanceof LedgerUnavailable;
      const what = isUnavailable ? "cannot be kept in the ledger" : "cannot be worked out (tally verify may say why)";
      log.limited("rankings", 60_000).error(`the rankings ${what}, trying again`, { error });
      this.#retryAtMs = performance.now() + (isUnavailable ? RETRY_MS : BROKEN_MS);
      // Counting goes on without them.
      if (!isUnavailable) this.#ranker.beginAnew();
    }
    return false;
  }

  #want(name: ToRanker, port: MessagePort): void {
    this.#askedAtMs = performance.now();
    if (!this.#wanted.add(name, port, this.#askedAtMs)) {
      log.limited("top lists", 60_000).warn("too many different rankings are asked for at once", { ...name });
      return;
    }
    if (this.#isWhole) this.#tell(name, [port]);
    else this.#isStale = true;
  }

  #tell(name: ToRanker, ports: readonly MessagePort[]): void {
    const [list] = this.#ranker.top([name], TOP_LENGTH);
    if (list) for (const port of ports) tell(port, { kind: "list", name, list });
  }
}

function tell(port: MessagePort, message: FromRanker): void {
  port.postMessage(message);
}

const data = workerData as RankerData;
const thread = new RankerThread(data);
parentPort?.on("message", (command: RankerCommand) => thread.command(command));
void thread.run();
