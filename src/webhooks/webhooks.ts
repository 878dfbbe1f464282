import type { MilestoneBox } from "../ports/milestones.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import { VERSION } from "../version.ts";
import { Deliverer, type SignedWebhook } from "./deliverer.ts";

const COUNT_EVERY_MS = 5_000;
/** Of the whole stop's ten seconds. */
const STOP_MS_MAX = 2_000;

/** A node's webhooks: null where none are configured, and then nothing of them runs. */
export class Webhooks {
  readonly #box: MilestoneBox & { close(): unknown };
  readonly #deliverer: Deliverer;
  readonly #timer: ReturnType<typeof setInterval>;
  #waiting = 0;

  static open(webhooks: readonly SignedWebhook[], openBox: () => MilestoneBox & { close(): unknown }): Webhooks | null {
    return webhooks.length === 0 ? null : new Webhooks(webhooks, openBox());
  }

  private constructor(webhooks: readonly SignedWebhook[], box: MilestoneBox & { close(): unknown }) {
    this.#box = box;
    this.#deliverer = new Deliverer({
      box,
      webhooks,
      version: VERSION,
      said: {
        failed({ url, subject, threshold }, why, retryMs) {
          const { host } = new URL(url);
          const what = { host, subject, threshold, why };
          if (retryMs === null) log.error("a webhook is given up: its receiver was never told", what);
          else log.limited(`webhook ${host}`, 60_000).warn("a webhook failed and is tried again", { ...what, retryMs });
        },
        away(error) {
          log.limited("webhooks", 60_000).warn("what is to be told cannot be read or marked", { error });
        },
      },
    });
    this.#timer = setInterval(() => void this.#count(), COUNT_EVERY_MS);
    void this.#count();
  }

  readings(): Reading[] {
    const name = "tally_webhooks_total";
    const help = "Milestones sent to a webhook, by what came of it";
    const { told, failed, givenUp } = this.#deliverer.counts;
    return [
      { name, help, type: "counter", value: told, labels: { outcome: "told" } },
      { name, help, type: "counter", value: failed, labels: { outcome: "failed" } },
      { name, help, type: "counter", value: givenUp, labels: { outcome: "given_up" } },
      { name: "tally_webhooks_waiting", help: "Milestones that are still to be told", value: this.#waiting },
    ];
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#deliverer.stop(STOP_MS_MAX);
    await this.#box.close();
  }

  async #count(): Promise<void> {
    this.#waiting = await this.#box.waiting().catch(() => this.#waiting);
  }
}
