import { RedisClient } from "bun";
import { StartError } from "../../errors.ts";
import { HotStoreAway } from "../../ports/hot-store.ts";
import {
  ANSWER_MS_MAX,
  backoffMs,
  type Driver,
  type DriverState,
  isElsewhere,
  isNoScript,
  LOOK_EVERY_MS,
  messageOf,
  NAMELESS,
  type Reply,
  replyError,
  type ScriptCall,
  StateKeeper,
  within,
} from "./driver.ts";
import { refusalAt } from "./refusal.ts";
import { SCRIPTS, type Script } from "./scripts.ts";
import { type Ask, type Info, identityOf, inspect, look, passingProblem, refusalError } from "./server.ts";

/**
 * One Redis over one connection of Bun's client. A connection lives as long as its socket and is never mended (the
 * client's own reconnecting is off: a command would go to a server whose identity nobody has read); the driver makes
 * another one.
 *
 *     connecting ──▸ up ──▸ connecting …          closed
 *        └ fails: waits, tries again
 */
export class BunDriver implements Driver {
  readonly #url: string;
  readonly #keeper = new StateKeeper();
  #connection: Connection | null = null;
  #attempts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  /** What the last attempt found that will not pass by itself. */
  #problem: StartError | null = null;
  /** The attempt to connect under way. */
  #attempt: Promise<void>;

  constructor(url: string) {
    this.#url = url;
    this.#attempt = this.#connect();
  }

  get state(): DriverState {
    return this.#keeper.state;
  }

  onState(listener: (state: DriverState) => void): void {
    this.#keeper.onState(listener);
  }

  run(calls: readonly ScriptCall[]): Promise<Reply[]> {
    if (!this.#connection) return Promise.reject(new HotStoreAway(this.state.reason));
    return this.#connection.run(calls);
  }

  async refresh(): Promise<void> {
    if (!this.#connection) throw new HotStoreAway(this.state.reason);
    await this.#connection.look();
  }

  async checkServer(): Promise<void> {
    await this.#attempt;
    if (this.#connection) return;
    throw this.#problem ?? new HotStoreAway(this.state.reason);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#attempt;
    this.#connection?.end("closed");
  }

  async #connect(): Promise<void> {
    try {
      const connection = await Connection.open(this.#url, (why) => this.#lost(why));
      if (this.#closed) return connection.end("closed");
      this.#problem = null;
      this.#attempts = 0;
      this.#connection = connection;
      this.#keeper.up();
    } catch (error) {
      this.#problem = error instanceof StartError ? error : null;
      this.#again(messageOf(error));
    }
  }

  #lost(why: string): void {
    this.#connection = null;
    this.#again(why);
  }

  #again(why: string): void {
    if (this.#closed) return;
    this.#keeper.away(why);
    this.#attempts += 1;
    this.#timer = setTimeout(() => {
      this.#attempt = this.#connect();
    }, backoffMs(this.#attempts));
  }
}

interface Batch {
  /** When it has to be answered. */
  until: number;
  reject(error: Error): void;
}

/** A socket to a server of known identity, and what is under way on it. Ends once, and tells `onEnd`. */
class Connection {
  readonly #client: RedisClient;
  readonly #onEnd: (why: string) => void;
  #identity = NAMELESS;
  #ended: string | null = null;
  /** In the order sent, so the first has waited longest. */
  readonly #underWay = new Set<Batch>();
  #watch: ReturnType<typeof setTimeout> | undefined;
  #looks: ReturnType<typeof setInterval> | undefined;

  private constructor(client: RedisClient, onEnd: (why: string) => void) {
    this.#client = client;
    this.#onEnd = onEnd;
  }

  static async open(url: string, onEnd: (why: string) => void): Promise<Connection> {
    const client = new RedisClient(url, {
      autoReconnect: false,
      enableOfflineQueue: false,
      connectionTimeout: ANSWER_MS_MAX,
    });
    let connection: Connection | null = null;
    client.onclose = (error) => connection?.end(`the connection to Redis was lost: ${messageOf(error)}`);
    try {
      await within(client.connect(), "connecting to Redis").catch(async (error) => {
        const refusal = await refusalAt(url);
        throw refusal === null ? new HotStoreAway(messageOf(error)) : refusalError(refusal);
      });
      const ask: Ask = (command, ...args) => client.send(command, args);
      const info = await within(inspect(ask), "the first answer of Redis");
      await within(Promise.all(Object.values(SCRIPTS).map((script) => load(client, script))), "loading scripts");
      if (!client.connected) throw new HotStoreAway("the connection to Redis was lost");
      connection = new Connection(client, onEnd);
      connection.#identity = identityOf(info) ?? NAMELESS;
      connection.#looks = setInterval(() => connection?.look().catch(() => {}), LOOK_EVERY_MS);
      connection.#looks.unref();
      return connection;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  async run(calls: readonly ScriptCall[]): Promise<Reply[]> {
    const answers = await this.#send(calls);
    const again = calls.filter((_, i) => isMissingScript(answers[i]));
    if (again.length > 0) {
      // Somebody has flushed the scripts. The calls did nothing yet, and go once more.
      await this.#watched(
        Promise.all([...new Set(again.map((call) => call.script))].map((s) => load(this.#client, s))),
      );
      const late = await this.#send(again);
      for (let i = 0, next = 0; i < answers.length; i++) if (isMissingScript(answers[i])) answers[i] = late[next++];
    }
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i];
      if (!(answer instanceof Error)) continue;
      if (!this.#client.connected || isConnectionError(answer)) throw new HotStoreAway(messageOf(answer));
      if (isElsewhere(answer.message)) this.end(`Redis refuses: ${answer.message}`);
      throw replyError((calls[i] as ScriptCall).script, answer.message);
    }
    return answers as Reply[];
  }

  /** Whether it is still the same server; ends the connection where it may not be asked any more. */
  async look(): Promise<void> {
    const info: Info = await this.#watched(look((command, ...args) => this.#client.send(command, args)));
    const problem = passingProblem(info);
    if (problem) this.end(problem);
    else this.#identity = identityOf(info) ?? NAMELESS;
  }

  end(why: string): void {
    if (this.#ended !== null) return;
    this.#ended = why;
    clearTimeout(this.#watch);
    clearInterval(this.#looks);
    for (const batch of this.#underWay) batch.reject(new HotStoreAway(why));
    this.#underWay.clear();
    this.#client.close();
    this.#onEnd(why);
  }

  /** All at once; each answer is a value or an Error. Rejects only where the connection ends. */
  #send(calls: readonly ScriptCall[]): Promise<unknown[]> {
    return this.#watched(
      new Promise<unknown[]>((resolve) => {
        const answers: unknown[] = new Array(calls.length);
        let open = calls.length;
        const put = (i: number, answer: unknown) => {
          answers[i] = answer;
          if (--open === 0) resolve(answers);
        };
        if (open === 0) resolve(answers);
        for (let i = 0; i < calls.length; i++) {
          const { script, key, args } = calls[i] as ScriptCall;
          this.#client.send("EVALSHA", [script.sha, "1", key, this.#identity, ...args]).then(
            (value) => put(i, value),
            (error) => put(i, error instanceof Error ? error : new Error(String(error))),
          );
        }
      }),
    );
  }

  /** The deadline: one timer for all that is under way, set to the oldest. */
  #watched<T>(work: Promise<T>): Promise<T> {
    if (this.#ended !== null) return Promise.reject(new HotStoreAway(this.#ended));
    return new Promise<T>((resolve, reject) => {
      const batch: Batch = { until: performance.now() + ANSWER_MS_MAX, reject };
      this.#underWay.add(batch);
      if (this.#underWay.size === 1) this.#arm(batch.until);
      const settle = (then: () => void) => {
        this.#underWay.delete(batch);
        if (this.#underWay.size === 0) this.#disarm();
        then();
      };
      work.then(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(this.#client.connected ? error : new HotStoreAway(messageOf(error)))),
      );
    });
  }

  #arm(until: number): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#overdue(until), Math.max(1, until - performance.now()));
  }

  #disarm(): void {
    clearTimeout(this.#watch);
    this.#watch = undefined;
  }

  #overdue(until: number): void {
    const [oldest] = this.#underWay;
    if (!oldest) return;
    const now = performance.now();
    if (oldest.until > now) this.#arm(oldest.until);
    // This thread was stopped itself: the answer may be in the socket's buffer, so the socket gets a turn first.
    else if (now - until > STALL_MS) this.#arm(now + STALL_MS);
    else this.end(`Redis did not answer within ${ANSWER_MS_MAX} ms`);
  }
}

const STALL_MS = 100;

function isMissingScript(answer: unknown): boolean {
  return answer instanceof Error && isNoScript(answer.message);
}

/** The client's own errors, not the server's. */
function isConnectionError(error: Error): boolean {
  return "code" in error && /CONNECTION|TIMEOUT|CLOSED/.test(String(error.code));
}

async function load(client: RedisClient, script: Script): Promise<void> {
  await client.send("SCRIPT", ["LOAD", script.text]);
}
