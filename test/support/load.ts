import type { Book, KnownTally } from "./book.ts";
import { type Answer, Connection, NoAnswer } from "./connection.ts";
import { type Random, random } from "./random.ts";

export const RELATIONS = ["likes", "follows"];
/** Few subjects, so that all threads meet on them, with ids that are easy to get wrong. */
const ODD = ["a b", "Bob", "bob", "bob ", "é", "e\u0301", "🎉", "a/b", "__proto__", "%2F", `"'`, "x".repeat(128)];
/** After an answer that did not come a client waits, as any does before it tries again. */
const RETRY_MS = 50;
/** How many acts are followed by a look. */
const READS = 0.2;

export interface LoadOptions {
  url: string;
  book: Book;
  seed: number;
  clients?: number;
  subjects?: number;
  actors?: number;
  /** Parts of the acts that are views, relations and keyed increments; the rest only looks. */
  mix?: { views: number; relations: number; keyed: number };
}

export const subjectOf = (index: number): string => `article/${ODD[index] ?? index}`;
export const actorOf = (index: number): string => (index % 3 === 0 ? `actor ${index} é` : String(index));
export const pathOf = (subject: string): string =>
  `/v1/subjects/article/${encodeURIComponent(subject.slice(subject.indexOf("/") + 1))}`;

/** Clients that act as fast as they are answered, and write down in the book what they did and were told. */
export class Load {
  readonly #options: Required<LoadOptions>;
  readonly #clients: Promise<void>[];
  #stopping = false;

  constructor(options: LoadOptions) {
    const mix = { views: 0.4, relations: 0.4, keyed: 0.15 };
    this.#options = { clients: 24, subjects: 30, actors: 96, mix, ...options };
    this.#clients = Array.from({ length: this.#options.clients }, (_, index) => this.#run(index));
  }

  /** Each client ends with the answer to its last request, or with its connection. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#clients);
  }

  async #run(index: number): Promise<void> {
    const { url, seed, book } = this.#options;
    const client = new Client(index, random(seed * 1000 + index), this.#options);
    while (!this.#stopping) {
      // Two, that may well be of two threads: what is done on one must show on the other.
      const open = () => Connection.open(url).catch(() => null);
      const [writing, reading] = await Promise.all([open(), open()]);
      try {
        while (writing && reading && !this.#stopping) await client.act(writing, reading);
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        book.lost++;
      } finally {
        writing?.close();
        reading?.close();
      }
      if (!this.#stopping) await Bun.sleep(RETRY_MS);
    }
  }
}

class Client {
  readonly #index: number;
  readonly #random: Random;
  readonly #options: Required<LoadOptions>;
  readonly #book: Book;

  constructor(index: number, random: Random, options: Required<LoadOptions>) {
    this.#index = index;
    this.#random = random;
    this.#options = options;
    this.#book = options.book;
  }

  async act(writing: Connection, reading: Connection): Promise<void> {
    const { mix } = this.#options;
    const what = this.#random.next();
    const subject = this.#subject();
    const actor = this.#actor();
    if (this.#book.open.has(this.#index) || what < mix.keyed) await this.#addOnce(writing, subject);
    else if (what < mix.keyed + mix.views) await this.#view(writing, subject);
    else if (what < mix.keyed + mix.views + mix.relations) await this.#relate(writing, subject, actor);
    if (this.#random.chance(READS)) await this.#read(reading, subject, actor);
  }

  async #view(connection: Connection, subject: string): Promise<void> {
    const by = this.#random.chance(0.5) ? 1 : 1 + this.#random.below(5);
    const known = this.#book.tally(this.#book.views, subject);
    const minimal = this.#random.chance(0.1);
    const shown = known.shown;
    known.most += by;
    const answer = await connection.send("POST", `${pathOf(subject)}/views`, {
      ...(by > 1 ? { body: { by } } : {}),
      ...(minimal ? { headers: { prefer: "return=minimal" } } : {}),
    });
    if (this.#isRefused(answer, minimal ? 204 : 200)) {
      known.most -= by; // it says so: not counted
      return;
    }
    known.acked += by;
    if (!minimal) this.#show(known, answer, shown + by);
  }

  async #addOnce(connection: Connection, on: string): Promise<void> {
    const book = this.#book;
    let add = book.open.get(this.#index);
    if (!add) {
      const key = `${this.#options.seed}-${this.#index}-${this.#random.below(2 ** 31)}`;
      add = { subject: on, key, by: 1 + this.#random.below(5) };
      book.open.set(this.#index, add);
      book.tally(book.keyed, add.subject).most += add.by;
    }
    const { subject, key, by } = add;
    const known = book.tally(book.keyed, subject);
    const shown = known.shown;
    const headers = { "idempotency-key": key };
    const answer = await connection.send("POST", `${pathOf(subject)}/shares`, { headers, body: { by } });
    if (this.#isRefused(answer, 200)) return;
    book.open.delete(this.#index);
    known.acked += by;
    this.#show(known, answer, shown);
  }

  async #relate(connection: Connection, subject: string, actor: string): Promise<void> {
    const metric = this.#random.pick(RELATIONS);
    const active = this.#random.chance(0.6);
    const register = this.#book.register(metric, subject, actor);
    const isSure = register.doubts.length === 0;
    register.doubts.push(active);
    const sent = performance.now();
    const answer = await connection.send(
      active ? "PUT" : "DELETE",
      `${pathOf(subject)}/${metric}/${encodeURIComponent(actor)}`,
    );
    if (this.#isRefused(answer, 200)) return; // may have taken effect
    const now = JSON.parse(answer.body) as { active: boolean; changed: boolean; count: number; at: string | null };
    const told = () => `${active ? "PUT" : "DELETE"} ${metric} ${subject} ${actor} was told ${answer.body}`;
    this.#book.must(now.active === active && (!active || now.count > 0), told);
    if (isSure) {
      this.#book.must(
        now.changed === (register.active !== active),
        () => `${told()} after ${JSON.stringify(register)}`,
      );
      if (active && !now.changed) this.#book.must(now.at === register.at, () => `${told()}, not ${register.at}`);
    }
    if (now.changed) register.acted = { sent, answered: performance.now() };
    else if (!isSure) register.acted = null;
    register.active = active;
    register.doubts = [];
    register.at = now.at;
  }

  /** What was answered must show at once, on whatever thread this lands. */
  async #read(connection: Connection, subject: string, actor: string): Promise<void> {
    const views = this.#book.tally(this.#book.views, subject);
    const shown = views.shown;
    const answer = await connection.send("GET", `${pathOf(subject)}?actor=${encodeURIComponent(actor)}`);
    if (this.#isRefused(answer, 200)) return;
    const { counts, mine } = JSON.parse(answer.body) as { counts: Record<string, number>; mine: string[] };
    this.#book.must((counts.views ?? 0) >= shown, () => `views of ${subject} fell from ${shown} to ${counts.views}`);
    views.shown = Math.max(views.shown, counts.views ?? 0);
    for (const metric of RELATIONS) {
      const register = this.#book.register(metric, subject, actor);
      if (register.doubts.length > 0) continue;
      const promise = () => `${metric} ${subject} ${actor} is ${register.active}, and "mine" is ${mine}`;
      this.#book.must(mine.includes(metric) === register.active, promise);
    }
  }

  #show(known: KnownTally, answer: Answer, least: number): void {
    const { count } = JSON.parse(answer.body) as { count: number };
    this.#book.must(count >= least, () => `a tally was shown as ${count} after at least ${least}`);
    known.shown = Math.max(known.shown, count);
  }

  #isRefused(answer: Answer, expected: number): boolean {
    this.#book.answers++;
    if (answer.status === expected) return false;
    this.#book.refused++;
    const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json") === true;
    const isRight = answer.status === 503 && isProblem && answer.headers.has("retry-after");
    this.#book.must(isRight, () => `answered ${answer.status}: ${answer.body}`);
    return true;
  }

  /** One of this client's own. */
  #actor(): string {
    const { actors, clients } = this.#options;
    return actorOf(this.#index + clients * this.#random.below(Math.ceil((actors - this.#index) / clients)));
  }

  #subject(): string {
    return subjectOf(this.#random.below(this.#options.subjects));
  }
}
