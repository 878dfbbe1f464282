import { Webhook } from "standardwebhooks";
import { eventually } from "./eventually.ts";

export interface Told {
  path: string;
  id: string;
  /** Verified by the library. */
  message: { type: string; subject: string; metric: string; threshold: number; count: number; at: string };
}

/** Somebody who is told of milestones, and what he answers. */
export class WebhookReceiver {
  readonly told: Told[] = [];
  /** Requests whose signature was wrong. */
  wrong = 0;
  readonly port: number;
  /** What comes next, for one path; without it: 204. */
  readonly answers = new Map<string, (() => Response | Promise<Response>)[]>();
  readonly #secret: Uint8Array | string;
  #server: ReturnType<typeof Bun.serve>;

  constructor(secret: string) {
    this.#secret = secret;
    this.#server = this.#listen(0);
    this.port = this.#server.port as number;
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  thresholds(subject: string): number[] {
    return this.told
      .filter(({ message }) => message.subject === subject)
      .map(({ message }) => message.threshold)
      .sort((a, b) => a - b);
  }

  async until(subject: string, thresholds: number[], waitMs = 15_000): Promise<void> {
    await eventually(async () => {
      const told = this.thresholds(subject);
      if (told.join() !== thresholds.join()) throw new Error(`${subject}: told of ${told}, not of ${thresholds}`);
    }, waitMs);
  }

  /** Nobody answers at its port. */
  async stop(): Promise<void> {
    await this.#server.stop(true);
  }

  start(): void {
    this.#server = this.#listen(this.port);
  }

  #listen(port: number) {
    return Bun.serve({
      port,
      idleTimeout: 60,
      fetch: async (request) => {
        const body = await request.text();
        const path = new URL(request.url).pathname;
        const headers = Object.fromEntries(request.headers);
        const answer = this.answers.get(path)?.shift();
        if (answer) return answer();
        const isStandard = typeof this.#secret === "string" && this.#secret.startsWith("whsec_");
        try {
          const webhook = new Webhook(this.#secret, isStandard ? {} : { format: "raw" });
          const message = webhook.verify(body, headers) as Told["message"];
          this.told.push({ path, id: headers["webhook-id"] as string, message });
        } catch {
          this.wrong++;
          return new Response(null, { status: 401 });
        }
        return new Response(null, { status: 204 });
      },
    });
  }
}
