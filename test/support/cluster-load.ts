import type { Book, KnownRegister, KnownTally } from "./book.ts";
import { type Answer, Connection, NoAnswer } from "./connection.ts";
import { actorOf, pathOf, RELATIONS, subjectOf } from "./load.ts";
import { type Random, random } from "./random.ts";

/** What the stores' state allows at the moment; a test changes it while clients act. */
export interface Allowed {
  /** Reads may be answered 503: what is asked is not at hand. */
  unreadable: boolean;
  /** Reads may lag behind what was answered: Redis is away, or has lost data. */
  stale: boolean;
  /** Actors go from node to node; otherwise each acts on one. */
  roaming: boolean;
}

export interface ClusterLoadOptions {
  /** Where each node is now; null while it is not there. */
  urls: () => (string | null)[];
  book: Book;
  seed: number;
  allowed: Allowed;
  clients?: number;
  subjects?: number;
  actors?: number;
}

const RETRY_MS = 50;
/** Between two requests of one client: two cores run clients, nodes and three stores. */
const THINK_MS = 30;
const READS = 0.4;
const MIX = { views: 0.4, relations: 0.45, keyed: 0.15 };
/** An answer that takes longer is a connection that died, for who waits for it. */
const ANSWER_MS_MAX = 30_000;

/** How long answers took since `reset`, and how many there were of each status. */
export class Taken {
  slowest: { ms: number; what: string } = { ms: 0, what: "" };
  ms: number[] = [];
  statuses = new Map<string, number>();

  note(ms: number, what: string, status: number): void {
    this.ms.push(ms);
    if (ms > this.slowest.ms) this.slowest = { ms, what: `${what} ${status}` };
    const kind = `${what.split(" ", 1)} ${status}`;
    this.statuses.set(kind, (this.statuses.get(kind) ?? 0) + 1);
  }

  quantile(q: number): number {
    return this.ms.toSorted((a, b) => a - b)[Math.floor(q * (this.ms.length - 1))] ?? 0;
  }

  reset(): void {
    this.slowest = { ms: 0, what: "" };
    this.ms = [];
    this.statuses.clear();
  }
}

/**
 * Clients of several nodes, that write down in the book what they did and were told. Each actor does one act after the
 * other; tallies are counted on any; an increment with a key is sent again, to any node, until it is answered.
 */
export class ClusterLoad {
  readonly taken = new Taken();
  readonly #options: Required<ClusterLoadOptions>;
  readonly #clients: Promise<void>[];
  #stopping = false;

  constructor(options: ClusterLoadOptions) {
    this.#options = { clients: 16, subjects: 24, actors: 64, ...options };
    this.#clients = Array.from({ length: this.#options.clients }, (_, index) => this.#run(index));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#clients);
  }

  async #run(index: number): Promise<void> {
    const { urls, seed, book, allowed } = this.#options;
    const client = new ClusterClient(index, random(seed * 1000 + index), this.#options, this.taken);
    while (!this.#stopping) {
      const own = urls()[index % urls().length] ?? null;
      const any = urls()[client.random.below(urls().length)] ?? null;
      const open = (url: string | null) => (url === null ? null : Connection.open(url).catch(() => null));
      const [writing, other] = await Promise.all([open(own), open(any)]);
      try {
        while (writing && other && !this.#stopping) {
          await client.act(allowed.roaming && client.random.chance(0.5) ? other : writing, other);
          await Bun.sleep(client.random.below(THINK_MS));
        }
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        book.lost++;
      } finally {
        writing?.close();
        other?.close();
      }
      if (!this.#stopping) await Bun.sleep(RETRY_MS);
    }
  }
}

interface RelateAnswer {
  active: boolean;
  changed?: boolean;
  count?: number;
  at: string | null;
}

class ClusterClient {
  readonly random: Random;
  readonly #index: number;
  readonly #options: Required<ClusterLoadOptions>;
  readonly #book: Book;
  /** Registers with a 202 that may have been a repeat: which `at` stays is not known. */
  readonly #unsure = new WeakSet<KnownRegister>();
  readonly #taken: Taken;

  constructor(index: number, random: Random, options: Required<ClusterLoadOptions>, taken: Taken) {
    this.#index = index;
    this.random = random;
    this.#options = options;
    this.#book = options.book;
    this.#taken = taken;
  }

  async act(own: Connection, any: Connection): Promise<void> {
    const what = this.random.next();
    const subject = subjectOf(this.random.below(this.#options.subjects));
    const actor = this.#actor();
    if (this.#book.open.has(this.#index) || what < MIX.keyed) await this.#addOnce(any, subject);
    else if (what < MIX.keyed + MIX.views) await this.#view(any, subject);
    else await this.#relate(own, subject, actor);
    if (this.random.chance(READS)) await this.#read(any, subject, actor);
  }

  async #send(connection: Connection, method: string, path: string, more = {}): Promise<Answer> {
    const sent = performance.now();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#book.must(false, () => `${method} ${path} was not answered in ${ANSWER_MS_MAX} ms`);
        reject(new NoAnswer("too late"));
      }, ANSWER_MS_MAX);
    });
    const answer = await Promise.race([connection.send(method, path, more), late]).finally(() => clearTimeout(timer));
    this.#taken.note(performance.now() - sent, `${method} ${path}`, answer.status);
    this.#book.answers++;
    return answer;
  }

  async #view(connection: Connection, subject: string): Promise<void> {
    const by = this.random.chance(0.5) ? 1 : 1 + this.random.below(5);
    const known = this.#book.tally(this.#book.views, subject);
    known.most += by;
    const body = by > 1 ? { body: { by } } : {};
    const answer = await this.#send(connection, "POST", `${pathOf(subject)}/views`, body);
    if (!this.#isTaken(answer)) {
      known.most -= by; // it says so: not counted
      return;
    }
    known.acked += by;
    if (answer.status === 200) this.#show(known, answer, by);
  }

  async #addOnce(connection: Connection, on: string): Promise<void> {
    const book = this.#book;
    let add = book.open.get(this.#index);
    if (!add) {
      const key = `${this.#options.seed}-${this.#index}-${this.random.below(2 ** 31)}`;
      add = { subject: on, key, by: 1 + this.random.below(5) };
      book.open.set(this.#index, add);
      book.tally(book.keyed, add.subject).most += add.by;
    }
    const { subject, key, by } = add;
    const known = book.tally(book.keyed, subject);
    const headers = { "idempotency-key": key };
    const answer = await this.#send(connection, "POST", `${pathOf(subject)}/shares`, { headers, body: { by } });
    if (!this.#isTaken(answer)) return;
    book.open.delete(this.#index);
    known.acked += by;
    if (answer.status === 200) this.#show(known, answer, by);
  }

  async #relate(connection: Connection, subject: string, actor: string): Promise<void> {
    const metric = this.random.pick(RELATIONS);
    const active = this.random.chance(0.6);
    const register = this.#book.register(metric, subject, actor);
    const isSure = register.doubts.length === 0;
    register.doubts.push(active);
    const method = active ? "PUT" : "DELETE";
    const answer = await this.#send(connection, method, `${pathOf(subject)}/${metric}/${encodeURIComponent(actor)}`);
    if (!this.#isTaken(answer)) return; // may have taken effect
    const now = JSON.parse(answer.body) as RelateAnswer;
    const told = () => `${method} ${metric} ${subject} ${actor} was told ${answer.status} ${answer.body}`;
    this.#book.must(now.active === active, told);
    if (answer.status === 200) {
      this.#book.must(!active || (now.count ?? 0) > 0, told);
      if (isSure) this.#checkChange(register, now, () => `${told()} after ${JSON.stringify(register)}`);
    }
    register.active = active;
    register.doubts = [];
    // After a 202 it is not known whether it was a repeat, whose first `at` stays; until the next change either may show.
    if (answer.status === 202) this.#unsure.add(register);
    else if (now.changed) this.#unsure.delete(register);
    register.at = this.#unsure.has(register) ? null : now.at;
  }

  #checkChange(register: KnownRegister, now: RelateAnswer, told: () => string): void {
    this.#book.must(now.changed === (register.active !== now.active), told);
    if (now.active && !now.changed && register.at !== null) this.#book.must(now.at === register.at, told);
  }

  /** What was answered 200 shows at once, on every node. */
  async #read(connection: Connection, subject: string, actor: string): Promise<void> {
    const { allowed } = this.#options;
    const wasStale = allowed.stale;
    const answer = await this.#send(connection, "GET", `${pathOf(subject)}?actor=${encodeURIComponent(actor)}`);
    if (answer.status === 503 && allowed.unreadable) this.#book.refused++;
    if (!this.#isTaken(answer, allowed.unreadable)) return;
    if (wasStale || allowed.stale) return;
    const { mine } = JSON.parse(answer.body) as { mine: string[] };
    for (const metric of RELATIONS) {
      const register = this.#book.register(metric, subject, actor);
      if (register.doubts.length > 0 || register.at === null) continue;
      const promise = () => `${metric} ${subject} ${actor} is ${register.active}, and "mine" is ${mine}`;
      this.#book.must(mine.includes(metric) === register.active, promise);
    }
  }

  /** Nodes show each other's counts after a flush, so only what this answer must hold is compared, and the end. */
  #show(known: KnownTally, answer: Answer, least: number): void {
    const { count } = JSON.parse(answer.body) as { count: number };
    this.#book.must(count >= least && count <= known.most, () => `a tally was shown as ${count} of ${known.most}`);
    known.shown = Math.max(known.shown, count);
  }

  /** Writes go on whatever store is away. */
  #isTaken(answer: Answer, mayRefuse = false): boolean {
    if (answer.status === 200 || answer.status === 202) return true;
    const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json") === true;
    const isRight = answer.status === 503 && isProblem && answer.headers.has("retry-after");
    this.#book.must(isRight && mayRefuse, () => `answered ${answer.status}: ${answer.body}`);
    return false;
  }

  /** One of this client's own. */
  #actor(): string {
    const { actors, clients } = this.#options;
    return actorOf(this.#index + clients * this.random.below(Math.ceil((actors - this.#index) / clients)));
  }
}
