import { Redis } from "@upstash/redis";
import { StartError } from "../../errors.ts";
import { HotStoreAway } from "../../ports/hot-store.ts";
import {
  ANSWER_MS_MAX,
  backoffMs,
  type Driver,
  type DriverState,
  isNoScript,
  messageOf,
  NAMELESS,
  type Reply,
  replyError,
  type ScriptCall,
  StateKeeper,
} from "./driver.ts";
import { type Ask, type Info, identityOf, inspect, look } from "./server.ts";

/** Each look is a command that hosts charge for. What happens in between shows in versions that go back. */
const LOOK_EVERY_MS = 5_000;

/**
 * A Redis behind Upstash's REST interface. There is no connection that could break, so the server's identity (where it
 * tells one) is read now and then, after every failure and when it does not know our scripts any more.
 */
export class RestDriver implements Driver {
  readonly #redis: Redis;
  readonly #keeper = new StateKeeper();
  #identity = NAMELESS;
  #attempts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #problem: StartError | null = null;
  #attempt: Promise<void>;

  constructor(url: string, token: string) {
    this.#redis = new Redis({
      url: url.replace(/\/+$/, ""),
      token,
      // The scripts may be repeated, but whoever waits has a deadline of its own.
      retry: { retries: 0 },
      automaticDeserialization: false,
      responseEncoding: false,
      enableAutoPipelining: false,
      enableTelemetry: false,
      signal: () => AbortSignal.timeout(ANSWER_MS_MAX),
    });
    this.#attempt = this.#connect();
  }

  get state(): DriverState {
    return this.#keeper.state;
  }

  onState(listener: (state: DriverState) => void): void {
    this.#keeper.onState(listener);
  }

  async run(calls: readonly ScriptCall[]): Promise<Reply[]> {
    if (!this.state.up) throw new HotStoreAway(this.state.reason);
    const answers = await this.#send(calls);
    const again = calls.filter((_, i) => isNoScript(answers[i]?.error ?? ""));
    if (again.length > 0) {
      // Perhaps a restart: the identity first, so that the calls are told if they meet a copy of another run.
      await this.refresh();
      await this.#asking(
        Promise.all([...new Set(again.map((call) => call.script))].map((s) => this.#ask("SCRIPT", "LOAD", s.text))),
      );
      const late = await this.#send(again);
      for (let i = 0, next = 0; i < answers.length; i++) {
        if (isNoScript(answers[i]?.error ?? "")) answers[i] = late[next++] as Answer;
      }
    }
    return answers.map(({ error, result }, i) => {
      if (error) throw replyError((calls[i] as ScriptCall).script, error);
      return (result ?? null) as Reply;
    });
  }

  async refresh(): Promise<void> {
    if (!this.state.up) throw new HotStoreAway(this.state.reason);
    const info = await this.#asking(orNothing(look, this.#ask));
    this.#identity = identityOf(info) ?? NAMELESS;
  }

  async checkServer(): Promise<void> {
    await this.#attempt;
    if (!this.state.up) throw this.#problem ?? new HotStoreAway(this.state.reason);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#attempt;
    clearTimeout(this.#timer);
  }

  async #connect(): Promise<void> {
    try {
      this.#identity = identityOf(await orNothing(inspect, this.#ask)) ?? NAMELESS;
      this.#problem = null;
      this.#attempts = 0;
      this.#keeper.up();
      this.#later(LOOK_EVERY_MS, () => this.refresh().catch(() => {}));
    } catch (error) {
      this.#problem = error instanceof StartError ? error : null;
      this.#lost(messageOf(error));
    }
  }

  /** One timer: the next look while up, the next attempt while away. */
  #later(ms: number, what: () => Promise<void>): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(async () => {
      this.#attempt = what();
      await this.#attempt;
      if (this.state.up) this.#later(LOOK_EVERY_MS, () => this.refresh().catch(() => {}));
    }, ms);
    this.#timer.unref();
  }

  #lost(why: string): void {
    if (this.#closed) return;
    this.#keeper.away(why);
    this.#attempts += 1;
    this.#later(backoffMs(this.#attempts), () => this.#connect());
  }

  async #send(calls: readonly ScriptCall[]): Promise<Answer[]> {
    if (calls.length === 0) return [];
    const pipeline = this.#redis.pipeline();
    for (const { script, key, args } of calls) pipeline.evalsha(script.sha, [key], [this.#identity, ...args]);
    return await this.#asking(pipeline.exec({ keepErrors: true }) as Promise<Answer[]>);
  }

  /** What fails as a whole is the way to the server, or the server itself: away until an attempt succeeds. */
  async #asking<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const why = `Redis cannot be asked: ${messageOf(error).split(", command was:")[0]}`;
      if (this.state.up) this.#lost(why);
      throw new HotStoreAway(why);
    }
  }

  readonly #ask: Ask = async (command, ...args) => {
    try {
      return await this.#redis.exec([command, ...args]);
    } catch (error) {
      throw new Error(messageOf(error).split(", command was:")[0]);
    }
  };
}

interface Answer {
  error?: string;
  result: unknown;
}

/**
 * Some hosts do not have INFO: then nothing can be checked, and the server is nameless. PING tells it from being away.
 */
async function orNothing(askInfo: (ask: Ask) => Promise<Info>, ask: Ask): Promise<Info> {
  try {
    return await askInfo(ask);
  } catch (error) {
    if (error instanceof StartError || error instanceof HotStoreAway) throw error;
    if (!/unknown command|not (?:available|supported|allowed)/i.test(messageOf(error))) throw error;
    await ask("PING");
    return new Map();
  }
}
