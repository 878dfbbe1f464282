import { LAG_MS_MAX, LOOK_MS_MAX } from "../../limits.ts";
import { LedgerUnavailable } from "../../ports/ledger.ts";
import { AwayNews, type AwayShare } from "./away-news.ts";
import { asUnavailable, type Deadlines, LedgerConnection } from "./connection.ts";

/** For what a request waits for: less than the second that an answer may take. */
const HASTY: Deadlines = { connectMs: LOOK_MS_MAX, queryMs: LOOK_MS_MAX };
/** For what may look at KNOWN_LOOKS_MAX registers. */
export const UNHURRIED: Deadlines = { connectMs: 1_000, queryMs: LAG_MS_MAX };
/** Between two looks whether a server that is away has come back. */
const PROBE_MS = 250;
/** Callers that wait for a connection: beyond, the server is as good as away. */
const WAITING_MAX = 2_000;

export interface PoolOptions {
  connections?: number;
  deadlines?: Deadlines;
  /** What the threads of a node tell each other of the server. */
  away?: AwayShare;
}

interface Waiting {
  resolve(connection: LedgerConnection | null): void;
  reject(error: Error): void;
  timer: ReturnType<typeof setTimeout>;
}

/**
 * A few connections for reading, and a switch before them.
 *
 * up ─a connection cannot be made, or is lost or silent under a question; or the news say so→ away ─a probe is answered→ up.
 * While it is away everyone is told at once; only those who were asking when it went have waited, for a deadline at most.
 */
export class ReadPool {
  readonly #url: string;
  readonly #size: number;
  readonly #deadlines: Deadlines;
  readonly #news: AwayNews;
  readonly #idle: LedgerConnection[] = [];
  readonly #busy = new Set<LedgerConnection>();
  readonly #waiting: Waiting[] = [];
  /** Connections that are being made. */
  #opening = 0;
  /** Why nobody is let through. */
  #away: Error | null = null;
  #probe: ReturnType<typeof setTimeout> | null = null;
  #isClosed = false;

  constructor(url: string, options: PoolOptions = {}) {
    this.#url = url;
    this.#size = options.connections ?? 4;
    this.#deadlines = options.deadlines ?? HASTY;
    this.#news = new AwayNews(options.away ?? { word: AwayNews.allocate(), isTeller: true });
  }

  get isAway(): boolean {
    return this.#away !== null;
  }

  /**
   * Lends a connection. Throws LedgerUnavailable where there is none to be had; what `use` only reads is asked again
   * when a connection that lay idle turns out to be dead.
   */
  async use<T>(use: (connection: LedgerConnection) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const { connection, isNew } = await this.#take();
      const startedAt = performance.now();
      try {
        return await use(connection);
      } catch (error) {
        const unavailable = asUnavailable(error);
        if (connection.isOpen || !(unavailable instanceof LedgerUnavailable)) throw unavailable;
        const wasDead = !isNew && tries === 1 && performance.now() - startedAt < this.#deadlines.queryMs / 2;
        if (!wasDead || this.#isClosed) throw this.#goAway(unavailable);
      } finally {
        this.#giveBack(connection);
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    if (this.#probe) clearTimeout(this.#probe);
    const gone = new LedgerUnavailable("the ledger is closed");
    for (const waiting of this.#waiting.splice(0)) this.#settle(waiting, () => waiting.reject(gone));
    for (const connection of [...this.#idle.splice(0), ...this.#busy]) connection.close();
  }

  async #take(): Promise<{ connection: LedgerConnection; isNew: boolean }> {
    for (;;) {
      if (this.#isClosed) throw new LedgerUnavailable("the ledger is closed");
      if (this.#news.hear()) this.#goAway(new LedgerUnavailable("MySQL: the log thread finds it away"));
      if (this.#away) throw new LedgerUnavailable(this.#away.message, { cause: this.#away });
      const idle = this.#takeIdle();
      if (idle) return { connection: idle, isNew: false };
      if (this.#busy.size + this.#opening < this.#size) return { connection: await this.#open(), isNew: true };
      const connection = await this.#wait();
      if (connection) return { connection, isNew: false };
    }
  }

  #takeIdle(): LedgerConnection | null {
    for (let connection = this.#idle.pop(); connection; connection = this.#idle.pop()) {
      if (!connection.isOpen) continue;
      this.#busy.add(connection);
      return connection;
    }
    return null;
  }

  async #open(): Promise<LedgerConnection> {
    this.#opening++;
    try {
      const connection = await LedgerConnection.open(this.#url, this.#deadlines);
      if (this.#isClosed) {
        connection.close();
        throw new LedgerUnavailable("the ledger is closed");
      }
      this.#busy.add(connection);
      return connection;
    } catch (error) {
      throw error instanceof LedgerUnavailable ? this.#goAway(error) : error;
    } finally {
      this.#opening--;
    }
  }

  /** Null: there is room for a new one. */
  #wait(): Promise<LedgerConnection | null> {
    if (this.#waiting.length >= WAITING_MAX) throw new LedgerUnavailable("MySQL: too many wait for an answer");
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(new LedgerUnavailable("MySQL: no connection became free in time"));
      }, this.#deadlines.queryMs);
      const waiting: Waiting = { resolve, reject, timer };
      this.#waiting.push(waiting);
    });
  }

  #giveBack(connection: LedgerConnection): void {
    this.#busy.delete(connection);
    if (this.#isClosed) {
      connection.close();
      return;
    }
    const waiting = this.#waiting.shift();
    if (!connection.isOpen) {
      if (waiting) this.#settle(waiting, () => waiting.resolve(null));
    } else if (waiting) {
      this.#busy.add(connection);
      this.#settle(waiting, () => waiting.resolve(connection));
    } else this.#idle.push(connection);
  }

  #settle(waiting: Waiting, how: () => void): void {
    clearTimeout(waiting.timer);
    how();
  }

  #goAway(error: LedgerUnavailable): LedgerUnavailable {
    if (this.#away || this.#isClosed) return error;
    this.#away = error;
    this.#news.tell(true);
    for (const waiting of this.#waiting.splice(0)) this.#settle(waiting, () => waiting.reject(error));
    this.#look(0);
    return error;
  }

  #look(afterMs: number): void {
    this.#probe = setTimeout(async () => {
      try {
        const connection = await LedgerConnection.open(this.#url, this.#deadlines);
        this.#away = null;
        this.#news.tell(false);
        this.#giveBack(connection);
      } catch (error) {
        if (this.#isClosed) return;
        this.#away = error as Error;
        this.#look(PROBE_MS);
      }
    }, afterMs);
    this.#probe.unref();
  }
}
