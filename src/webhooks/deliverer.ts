import { setTimeout } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { fault } from "../lib/fault.ts";
import { WEBHOOK_MS_MAX, WEBHOOKS_AT_ONCE } from "../limits.ts";
import type { MilestoneBox, Untold } from "../ports/milestones.ts";
import { milestoneId, type WebhookSetting } from "./milestones.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** Pauses after each failure; behind the last one it is given up: after three days and some hours. */
const RETRY_MS = [
  SECOND,
  5 * SECOND,
  30 * SECOND,
  2 * MINUTE,
  10 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  4 * HOUR,
  ...Array<number>(8).fill(8 * HOUR),
] as const;
/** A receiver that is back is not met by all at once. */
const JITTER = 0.2;
/** A receiver may ask for so long a pause. */
const RETRY_AFTER_MS_MAX = 24 * HOUR;
const LOOK_MS = SECOND;
const GONE = 410;

export interface SignedWebhook extends WebhookSetting {
  secret: string;
}

interface DelivererParts {
  box: MilestoneBox;
  webhooks: readonly SignedWebhook[];
  version: string;
  said: {
    /** It was not told; null: it never will be. */
    failed(milestone: Untold, why: string, retryMs: number | null): void;
    /** The box could not be asked. */
    away(error: unknown): void;
  };
}

/** What has become of them since the start. */
interface Deliveries {
  told: number;
  failed: number;
  givenUp: number;
}

/**
 * Tells receivers of milestones, by Standard Webhooks: signed, at least once, in no order. For each URL there is one loop, so
 * that one receiver who hangs keeps no other waiting.
 *
 *     take ── POST ── 2xx? ── settle
 *
 * Dying anywhere before `settle`, it is taken and sent again, under the same id.
 */
export class Deliverer {
  readonly counts: Deliveries = { told: 0, failed: 0, givenUp: 0 };
  readonly #parts: DelivererParts;
  readonly #stopping = new AbortController();
  readonly #loops: Promise<void>[];

  constructor(parts: DelivererParts) {
    this.#parts = parts;
    const urls = new Set(parts.webhooks.map(({ url }) => url));
    this.#loops = Array.from(urls, (url) => this.#serve(url));
  }

  /** What is on its way has a moment to arrive. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    await Promise.race([Promise.all(this.#loops), Bun.sleep(graceMs)]);
  }

  async #serve(url: string): Promise<void> {
    // Two entries for one URL with two secrets: signed with both, so that a secret can be changed.
    const secrets = new Set(this.#parts.webhooks.filter((hook) => hook.url === url).map(({ secret }) => secret));
    const signers = Array.from(secrets, signerOf);
    while (!this.#stopping.signal.aborted) {
      let taken: Untold[] = [];
      try {
        const now = { nowMs: Date.now(), leaseMs: 2 * WEBHOOK_MS_MAX, limit: WEBHOOKS_AT_ONCE };
        taken = await this.#parts.box.take(url, now);
        await Promise.all(taken.map((milestone) => this.#tell(milestone, signers)));
      } catch (error) {
        this.#parts.said.away(error);
        taken = [];
      }
      if (taken.length === 0) await this.#pause();
    }
  }

  async #tell(milestone: Untold, signers: readonly Webhook[]): Promise<void> {
    const answer = await this.#send(milestone, signers);
    fault("webhook.sent");
    if (answer === null) {
      this.counts.told++;
      await this.#parts.box.settle(milestone, null);
      return;
    }
    const retryMs = answer.isGone ? null : retryAfter(milestone.tries, answer.retryAfterMs);
    if (retryMs === null) this.counts.givenUp++;
    else this.counts.failed++;
    this.#parts.said.failed(milestone, answer.why, retryMs);
    await this.#parts.box.settle(milestone, retryMs === null ? null : Date.now() + retryMs);
  }

  /** Null: it was told. */
  async #send(milestone: Untold, signers: readonly Webhook[]): Promise<Refusal | null> {
    const { name: metric, subject, threshold, count, atMs, url } = milestone;
    const at = new Date(atMs).toISOString();
    const body = JSON.stringify({ type: "milestone", subject, metric, threshold, count, at });
    const id = milestoneId({ metric, subject, threshold, url });
    const now = new Date();
    const headers = {
      "content-type": "application/json",
      "user-agent": `tally/${this.#parts.version}`,
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
      "webhook-signature": signers.map((signer) => signer.sign(id, now, body)).join(" "),
    };
    try {
      const signal = AbortSignal.timeout(WEBHOOK_MS_MAX);
      const answer = await fetch(url, { method: "POST", headers, body, signal, redirect: "manual" });
      await answer.body?.cancel();
      if (answer.ok) return null;
      const seconds = Number(answer.headers.get("retry-after"));
      const retryAfterMs = Number.isFinite(seconds) ? Math.min(Math.max(0, seconds * SECOND), RETRY_AFTER_MS_MAX) : 0;
      return { why: `answered ${answer.status}`, retryAfterMs, isGone: answer.status === GONE };
    } catch (error) {
      return { why: error instanceof Error ? error.message : String(error), retryAfterMs: 0, isGone: false };
    }
  }

  /** Ends at once where it is stopped. */
  #pause(): Promise<void> {
    return setTimeout(LOOK_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}

interface Refusal {
  why: string;
  /** What the receiver asks for. */
  retryAfterMs: number;
  /** It says that it wants no more. */
  isGone: boolean;
}

/** Null: given up. */
function retryAfter(tries: number, askedMs: number): number | null {
  const pauseMs = RETRY_MS[tries];
  if (pauseMs === undefined) return null;
  return Math.round(Math.max(askedMs, pauseMs * (1 + JITTER * Math.random())));
}

/** `whsec_` and base64, as Standard Webhooks writes secrets; any other text stands for its own bytes. */
function signerOf(secret: string): Webhook {
  return secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(secret, { format: "raw" });
}
