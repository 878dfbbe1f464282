import { expect } from "bun:test";
import type { Api, Reply } from "./contract.ts";

export const TYPE = "attack";
export const FAN = "fan";
export const SUBJECTS = ["1", "zwei 👍", "a/b%2F", "é"].map((id) => `${TYPE}/${id}`);
export const ACTORS = ["7", "bob ", "👩‍👧", "e\u0301"];
/** All his acts are of another time, which tells which one holds. */
export const OLD = "old 🕰";
/** Counted without keys. What such a counter shows takes a while to know: it is looked at now and then. */
export const SHARED = "shared/1";
export const LISTED = ["likes", "favorites"] as const;

interface Register {
  active: boolean;
  /** As the answer to the act told it; null: it was not told. */
  at: string | null;
}

export function pathOf(subject: string): string {
  const slash = subject.indexOf("/");
  return `/v1/subjects/${subject.slice(0, slash)}/${encodeURIComponent(subject.slice(slash + 1))}`;
}
const nameOf = (metric: string, subject: string, actor: string) => `${metric} ${subject}\n${actor}`;

/** What the only client was told. */
export class Memory {
  readonly #registers = new Map<string, Register>();
  /** With keys: exact at once. */
  readonly views = new Map<string, number>();
  /** Without: not more, and exact in the end. */
  shares = 0;

  of(metric: string, subject: string, actor: string): Register {
    return this.#registers.get(nameOf(metric, subject, actor)) ?? { active: false, at: null };
  }

  set(metric: string, subject: string, actor: string, register: Register): void {
    this.#registers.set(nameOf(metric, subject, actor), register);
  }

  active(metric: string, subject: string): string[] {
    return [...ACTORS, OLD].filter((actor) => this.of(metric, subject, actor).active);
  }

  subjects(metric: string, actor: string): string[] {
    return SUBJECTS.filter((subject) => this.of(metric, subject, actor).active);
  }

  mine(subject: string, actor: string): string[] {
    return LISTED.filter((metric) => this.of(metric, subject, actor).active);
  }

  follows(actor: string): boolean {
    return this.of("follows", `user/${actor}`, FAN).active;
  }

  counts(subject: string): Record<string, number> {
    const likes = this.active("likes", subject).length;
    return { views: this.views.get(subject) ?? 0, likes, favorites: this.active("favorites", subject).length };
  }
}

interface OnlyClientParts {
  memory: Memory;
  api(): Api;
  /** What was asked, and how long the answer took. */
  timed(asked: string, ms: number): void;
}

/** Compares what a node shows with what its only client remembers. */
export class OnlyClient {
  readonly #memory: Memory;
  readonly #api: () => Api;
  readonly #timed: OnlyClientParts["timed"];
  checks = 0;

  constructor({ memory, api, timed }: OnlyClientParts) {
    this.#memory = memory;
    this.#api = api;
    this.#timed = timed;
  }

  async wrongOf(subjects: readonly string[], actors: readonly string[]): Promise<string[]> {
    const found: string[] = [];
    const looks = subjects.flatMap((subject) => actors.flatMap((actor) => this.#looks(subject, actor, found)));
    await Promise.all([...looks, ...actors.flatMap((actor) => this.#actorLooks(actor, found)), ...this.#pages(found)]);
    this.checks++;
    return found;
  }

  async #look(found: string[], asked: string, right: (json: Reply["json"]) => void, json?: unknown): Promise<void> {
    const since = performance.now();
    const reply = await (json ? this.#api().post(asked, { json }) : this.#api().get(asked));
    this.#timed(`GET ${asked}`, Math.round(performance.now() - since));
    if (reply.status !== 200) {
      found.push(`${asked} was answered ${reply.text}`);
      return;
    }
    try {
      right(reply.json);
    } catch (error) {
      found.push(
        `${asked} shows ${reply.text}: ${error instanceof Error ? error.message.replaceAll(/\s+/g, " ") : ""}`,
      );
    }
  }

  #looks(subject: string, actor: string, found: string[]): Promise<void>[] {
    const memory = this.#memory;
    const path = pathOf(subject);
    const counts = memory.counts(subject);
    const looks = [
      this.#look(found, `${path}?actor=${encodeURIComponent(actor)}`, (json) => {
        expect(json).toMatchObject({ counts, mine: memory.mine(subject, actor) });
      }),
    ];
    for (const metric of LISTED) {
      const { active, at } = memory.of(metric, subject, actor);
      const all = memory.active(metric, subject);
      looks.push(
        this.#look(found, `${path}/${metric}/${encodeURIComponent(actor)}`, (json) => {
          expect(json).toMatchObject({ active, count: all.length, ...(at === null ? {} : { at: active ? at : null }) });
        }),
        this.#look(found, `${path}/${metric}?limit=5`, (json) => {
          expect(json).toMatchObject({ count: all.length, next: null });
          expect(json.actors.map((each: { actor: string }) => each.actor).sort()).toEqual(all.sort());
          const times = json.actors.map((each: { at: string }) => each.at);
          expect(times).toEqual(times.toSorted().reverse());
        }),
      );
    }
    return looks;
  }

  #actorLooks(actor: string, found: string[]): Promise<void>[] {
    const path = `/v1/actors/${encodeURIComponent(actor)}`;
    const lists = LISTED.map((metric) => this.#memory.subjects(metric, actor));
    const [likes, favorites] = lists.map((list) => list.length);
    return [
      this.#look(found, path, (json) => expect(json.counts).toEqual({ likes, favorites, follows: 0 })),
      ...LISTED.map((metric, i) =>
        this.#look(found, `${path}/${metric}?limit=5&type=${TYPE}`, (json) => {
          expect(json.count).toBe(lists[i]?.length);
          expect(json.subjects.map((each: { subject: string }) => each.subject).sort()).toEqual(lists[i]?.sort());
        }),
      ),
    ];
  }

  #pages(found: string[]): Promise<void>[] {
    const memory = this.#memory;
    const knownOf = (metric: string, subject: string) =>
      memory.active(metric, subject).filter((actor) => memory.follows(actor));
    const query = { subjects: SUBJECTS, actor: FAN, known: true };
    const shares = () =>
      this.#look(found, pathOf(SHARED), ({ counts }) => expect(counts.shares).toBeLessThanOrEqual(memory.shares));
    return [
      // It takes nearly a second.
      ...(this.checks % 10 === 0 ? [shares()] : []),
      this.#look(
        found,
        "/v1/query",
        ({ items }) => {
          for (const [i, subject] of SUBJECTS.entries()) {
            expect(items[i]).toMatchObject({ counts: memory.counts(subject), mine: [] });
            for (const metric of LISTED) {
              const known = knownOf(metric, subject);
              expect(items[i].known[metric].count).toBe(known.length);
              expect(known).toEqual(expect.arrayContaining(items[i].known[metric].actors));
            }
          }
        },
        query,
      ),
      this.#look(found, `/v1/subjects?type=${TYPE}`, ({ subjects }) => {
        const isCounted = (subject: string) => Object.values(memory.counts(subject)).some((count) => count > 0);
        expect(subjects.toSorted()).toEqual(SUBJECTS.filter(isCounted).toSorted());
      }),
    ];
  }
}
