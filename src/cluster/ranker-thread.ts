import { parentPort, workerData } from "node:worker_threads";
import { wallMs } from "../lib/fault.ts";
import { RANKED_UNASKED_MAX, RANKED_UNASKED_MS, TOP_LENGTH } from "../limits.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { keyOf, type ListName } from "../rankings/messages.ts";
import { Ranker } from "../rankings/ranker.ts";
import { log } from "../telemetry/log.ts";
import { asUnavailable, LedgerConnection, PATIENT } from "./mysql/connection.ts";
import { MysqlSteps } from "./mysql/steps.ts";
import { lead, storeTops, wantedTops } from "./mysql/tops.ts";
import type { RankerCommand, RankerData } from "./ranker-link.ts";
import { storesOf } from "./stores.ts";

/** How often the one that leads looks for changes and for what is wanted, and how often the others try to lead. */
const LOOK_MS = 150;
const LEAD_MS = 1_000;
/** Where the ledger has what cannot be read. */
const BROKEN_MS = 10_000;
/** While no list is wanted. */
const IDLE_MS = 400;
/** How often lists that nobody wants any more are forgotten. */
const FORGET_MS = 5_000;
/** Lists are worked out for at most a fifth of the time. */
const LISTS_SHARE = 5;
/** A look at the changes of a month may take the server a while. */
const DEADLINES = { ...PATIENT, queryMs: 120_000, idleS: 5 };

/**
 * Every node has one, and one of them leads: it ranks what the projectors of all nodes have changed, and stores the lists that
 * are wanted, which all nodes read. If it loses its connection another one leads, and begins with what is in the ledger.
 */
class RankerThread {
  readonly #data: RankerData;
  #connection: LedgerConnection | null = null;
  #isStopping = false;

  constructor(data: RankerData) {
    this.#data = data;
  }

  async run(): Promise<void> {
    while (!this.#isStopping) {
      let restMs = LEAD_MS;
      try {
        await this.#tryToLead();
      } catch (error) {
        const limited = log.limited("rankings", 60_000);
        if (asUnavailable(error) instanceof LedgerUnavailable) {
          if (!this.#isStopping) limited.warn("rankings wait for MySQL", { error });
        } else {
          // Counting goes on without them.
          limited.error("the rankings cannot be worked out (tally verify may say why), trying again", { error });
          restMs = BROKEN_MS;
        }
      }
      this.#connection?.close();
      this.#connection = null;
      for (let left = restMs; left > 0 && !this.#isStopping; left -= LEAD_MS) await Bun.sleep(LEAD_MS);
    }
    parentPort?.close();
  }

  command(command: RankerCommand): void {
    if (command.kind !== "stop") return;
    this.#isStopping = true;
    this.#connection?.close();
  }

  async #tryToLead(): Promise<void> {
    const { mysqlUrl } = storesOf(this.#data.settings);
    const connection = await LedgerConnection.open(mysqlUrl, DEADLINES);
    this.#connection = connection;
    while (!this.#isStopping && !(await lead(connection))) await Bun.sleep(LEAD_MS);
    if (!this.#isStopping) await this.#lead(connection);
  }

  async #lead(connection: LedgerConnection): Promise<void> {
    const { topCandidates: candidates, hotHalfLife } = this.#data.settings;
    const options = { candidates, halfLifeS: hotHalfLife / 1000, unaskedMax: RANKED_UNASKED_MAX };
    const ranker = new Ranker(new MysqlSteps(connection), options);
    let known = new Set<string>();
    let isStale = true;
    let listsAtMs = 0;
    let forgetAtMs = 0;
    let wantedAtMs = Number.NEGATIVE_INFINITY;
    while (!this.#isStopping) {
      const wanted = await wantedTops(connection, performance.now() >= forgetAtMs);
      const nowMs = performance.now();
      if (nowMs >= forgetAtMs) forgetAtMs = nowMs + FORGET_MS;
      if (wanted.length > 0) wantedAtMs = nowMs;
      if (await ranker.step(Math.floor(wallMs() / 1000), nowMs - wantedAtMs < RANKED_UNASKED_MS)) isStale = true;
      if (wanted.length === 0) {
        known.clear();
        isStale = true;
        if (!(await ranker.tend())) await Bun.sleep(IDLE_MS);
        continue;
      }
      if (isStale && nowMs < listsAtMs) {
        await Bun.sleep(LOOK_MS);
        continue;
      }
      const due = isStale ? wanted : wanted.filter((name) => !known.has(keyOf(name)));
      const workMs = performance.now();
      const lists = ranker.top(due, TOP_LENGTH);
      listsAtMs = workMs + LISTS_SHARE * (performance.now() - workMs);
      await storeTops(
        connection,
        due.map((name, i) => [name, lists[i] as (typeof lists)[number]] satisfies [ListName, unknown]),
      );
      known = new Set(wanted.map(keyOf));
      if (isStale || !(await ranker.tend())) await Bun.sleep(LOOK_MS);
      isStale = false;
    }
  }
}

const data = workerData as RankerData;
const thread = new RankerThread(data);
parentPort?.on("message", (command: RankerCommand) => thread.command(command));
void thread.run();
