import { expect } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { random } from "./random.ts";

const ACTORS = 40;
/** How many subjects are looked at side by side. */
const LOOKS = 8;
/** Bodies come from a robot on this machine. */
const AGENT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const RULED = ["visits", "plays", "reads", "outside"] as const;
const METRICS = `
metrics:
  views: {kind: tally}
  visits: {kind: tally, unique: 30m, distinct: true}
  plays: {kind: tally, distinct: true}
  reads: {kind: tally, bots: drop}
  outside: {kind: tally, ignore: [127.0.0.0/8]}
  likes: {kind: relation}
`;

/** A tally.yaml for a server that takes such bodies, for as long as this process lives. */
export function uploadConfig(): string {
  const folder = mkdtempSync(join(tmpdir(), "tally-upload-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "tally.yaml");
  writeFileSync(path, METRICS);
  return path;
}

/** A body of events whose outcome is known, and what a server says when it has all of it, once. */
export class UploadBody {
  readonly type = "application/x-ndjson";
  readonly key: string;
  readonly bytes: Buffer;
  accepted = 0;
  rejected = 0;
  readonly #mark: string;
  readonly #day = today();
  readonly #views = new Map<number, number>();
  readonly #likes = new Map<number, Map<string, boolean>>();
  /** By metric with visitors: what counts of each subject. */
  readonly #ruled = new Map(RULED.map((metric) => [metric, new Map<number, number>()]));
  /** By metric and subject. */
  readonly #visitors = new Map<string, Set<string>>();

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
      if (chance(0.2)) {
        const actor = chance(0.8) ? `${below(ACTORS)}` : undefined;
        lines.push(this.#visit(pick(RULED), subject, actor, 1 + below(3)));
      } else if (chance(0.8)) {
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

  /** A line that its metric's rules have a say in, by these rules. */
  #visit(metric: (typeof RULED)[number], subject: number, actor: string | undefined, by: number): string {
    const name = `${metric} ${subject}`;
    const visitors = this.#visitors.get(name) ?? new Set();
    const isLeftOut = {
      visits: visitors.has(`${actor}`),
      plays: false,
      reads: actor === undefined,
      outside: true,
    }[metric];
    this.#visitors.set(name, visitors.add(`${actor}`));
    const counts = this.#ruled.get(metric) as Map<number, number>;
    counts.set(subject, (counts.get(subject) ?? 0) + (isLeftOut ? 0 : by));
    return JSON.stringify({ metric, subject: this.#subject(subject), by, actor });
  }

  #subject(number: number): string {
    return `upload/${this.#mark}-${number}`;
  }

  /** Sends all of it; the status, or null where the server was gone. */
  async send(url: string): Promise<number | null> {
    try {
      const headers = { "content-type": this.type, "idempotency-key": this.key, "user-agent": AGENT };
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
    const ruled = [...this.#ruled.values()].flatMap((counts) => [...counts.keys()]);
    const subjects = new Set([...this.#views.keys(), ...this.#likes.keys(), ...ruled]);
    const left = [...subjects];
    const look = async () => {
      for (let number = left.pop(); number !== undefined; number = left.pop()) await this.#expectSubject(url, number);
    };
    await Promise.all(Array.from({ length: LOOKS }, look));
  }

  async #expectSubject(url: string, number: number): Promise<void> {
    const views = this.#views.get(number) ?? 0;
    const likes = [...(this.#likes.get(number) ?? [])].filter(([, active]) => active).map(([actor]) => actor);
    await eventually(async () => {
      const answer = await fetch(new URL(`/v1/subjects/${this.#subject(number)}`, url));
      const { counts } = (await answer.json()) as { counts: Record<string, number> };
      expect([number, counts.views, counts.likes]).toEqual([number, views, likes.length]);
      for (const metric of RULED)
        expect([number, metric, counts[metric]]).toEqual([number, metric, this.#ruled.get(metric)?.get(number) ?? 0]);
    });
    for (const metric of ["visits", "plays"]) {
      await eventually(async () => {
        const answer = await fetch(new URL(`/v1/subjects/${this.#subject(number)}/${metric}`, url));
        const { distinct } = (await answer.json()) as { distinct: { all: number } };
        const seen = this.#visitors.get(`${metric} ${number}`)?.size ?? 0;
        // At midnight somebody without a name gets another one.
        expect(this.#day === today() ? [seen] : [seen, seen + 1], `${metric} ${number}`).toContain(distinct.all);
      });
    }
    const answer = await fetch(new URL(`/v1/subjects/${this.#subject(number)}/likes?limit=100`, url));
    const { actors } = (await answer.json()) as { actors: { actor: string }[] };
    expect(actors.map(({ actor }) => actor).sort()).toEqual(likes.sort());
  }
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}
