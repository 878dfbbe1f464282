import type { Settings } from "../config.ts";
import { EXIT, StartError } from "../errors.ts";
import { HISTORY_DAYS_MAX } from "../limits.ts";
import { log } from "../telemetry/log.ts";
import { isAway } from "./away.ts";
import { KafkaAway } from "./kafka/client.ts";
import { hasProjector } from "./kafka/group.ts";
import type { MysqlLedgerReader } from "./mysql/reads.ts";
import { ProjectorLink } from "./projector-link.ts";

/**
 * A command's own projector, in a cluster where nobody else brings the log into MySQL: its servers are stopped, or there has been
 * none yet. What servers decide by their settings is left to them: history is kept as long as any setting can say.
 */
export class OwnProjector {
  readonly #settings: Settings;
  readonly #ledger: MysqlLedgerReader;
  readonly #partitions: number;
  #link: ProjectorLink | null = null;
  #broken: unknown = null;

  constructor(settings: Settings, ledger: MysqlLedgerReader, partitions: number) {
    this.#settings = { ...settings, historyDays: HISTORY_DAYS_MAX, kafkaPartitions: partitions };
    this.#ledger = ledger;
    this.#partitions = partitions;
  }

  /** Begins, unless somebody else is there, or would have to tell webhooks what this command does not know of. */
  async startIfAlone(): Promise<void> {
    if (this.#broken !== null) throw new StartError(`the projector ended: ${this.#broken}`, EXIT.bug);
    if (this.#link !== null || !(await this.#isAlone())) return;
    log.info("no server runs: this command brings the log into MySQL itself");
    const data = { settings: this.#settings, partitions: this.#partitions };
    this.#link = new ProjectorLink(data, {
      store: () => undefined,
      died: (error) => {
        this.#broken = error ?? new Error("its thread ended");
      },
    });
  }

  async stop(): Promise<void> {
    await this.#link?.stop();
    this.#link = null;
  }

  async #isAlone(): Promise<boolean> {
    try {
      if (await hasProjector(this.#settings)) return false;
      return this.#settings.webhooks.length > 0 || !(await this.#ledger.hasMilestones());
    } catch (error) {
      if (!isAway(error) && !(error instanceof KafkaAway)) throw error;
      return false;
    }
  }
}
