import { expect } from "bun:test";
import { eventually } from "./eventually.ts";
import { random } from "./random.ts";

const ACTORS = 40;

/** A body of events whose outcome is known, and what a server says when it has all of it, once. */
export class UploadBody {
  readonly type = "application/x-ndjson";
  readonly key: string;
  readonly bytes: Buffer;
  accepted = 0;
  rejected = 0;
  readonly #mark: string;
  readonly #views = new Map<number, number>();
  readonly #likes = new Map<number, Map<string, boolean>>();

  constructor(options: { mark: string; lines: number; seed: number; subjects?: number }) {
    const { below, chance, pick } = random(options.seed);
    this.#mark = options.mark;
    this.key = `key ${options.mark}`;
    const lines: string[] = [];
    for (let i = 0; i < options.lines; i++) {
      const subject = below(options.subjects ?? 200);
      if (chance(0.01)) {
        this.rejected++;
        lines.push(pick(["nonsense", '{"metric":"clicks","subject":"a/b"}', '{"metric":"views","subject":"a"}']));
        continue;
      }
      this.accepted++;
      if (chance(0.8)) {
        const by = 1 + below(3);
        this.#views.set(subject, (this.#views.get(subject) ?? 0) + by);
        lines.push(`{"metric":"views","subject":"${this.#subject(subject)}"${by > 1 ? `,"by":${by}` : ""}}`);
      } else {
        const [actor, active] = [`${below(ACTORS)}`, chance(0.7)];
        const of = this.#likes.get(subject) ?? new Map<string, boolean>();
        this.#likes.set(subject, of.set(actor, active));
        lines.push(JSON.stringify({ metric: "likes", subject: this.#subject(subject), actor, active }));
      }
    }
    this.bytes = Buffer.from(lines.join("\n"));
  }

  #subject(number: number): string {
    return `upload/${this.#mark}-${number}`;
  }

  /** Sends all of it; the status, or null where the server was gone. */
  async send(url: string): Promise<number | null> {
    try {
      const headers = { "content-type": this.type, "idempotency-key": this.key };
      const answer = await fetch(new URL("/v1/events", url), {
        method: "POST",
        headers,
        body: new Uint8Array(this.bytes),
      });
      const text = await answer.text();
      if (answer.status !== 200 && answer.status !== 202) return answer.status;
      expect(JSON.parse(text), text).toMatchObject({ accepted: this.accepted, rejected: this.rejected });
      return answer.status;
    } catch (error) {
      if (error instanceof Error && /toMatchObject/.test(error.message)) throw error;
      return null;
    }
  }

  /** Every count and every register as one sending leaves them. */
  async expectOnce(url: string): Promise<void> {
    const subjects = new Set([...this.#views.keys(), ...this.#likes.keys()]);
    for (const number of subjects) {
      const views = this.#views.get(number) ?? 0;
      const likes = [...(this.#likes.get(number) ?? [])].filter(([, active]) => active).map(([actor]) => actor);
      await eventually(async () => {
        const answer = await fetch(new URL(`/v1/subjects/${this.#subject(number)}`, url));
        const { counts } = (await answer.json()) as { counts: Record<string, number> };
        expect([number, counts.views, counts.likes]).toEqual([number, views, likes.length]);
      });
      const answer = await fetch(new URL(`/v1/subjects/${this.#subject(number)}/likes?limit=100`, url));
      const { actors } = (await answer.json()) as { actors: { actor: string }[] };
      expect(actors.map(({ actor }) => actor).sort()).toEqual(likes.sort());
    }
  }
}
