import type { Redis } from "ioredis";
import { StartError } from "../../errors.ts";
import { HotStoreAway } from "../../ports/hot-store.ts";
import { messageOf, NAMELESS, type ScriptCall, within } from "./driver.ts";
import { SCRIPTS, type Script } from "./scripts.ts";
import { type Ask, identityOf, inspect, look } from "./server.ts";

/**
 * One master of a Redis Cluster over one socket: ioredis, as a cluster has it, never reconnects such an instance but
 * replaces it, so the identity read from it first is that of whoever answers on it later.
 */
export class ClusterNode {
  readonly redis: Redis;
  readonly name: string;
  #identity: Promise<string> | null = null;

  constructor(redis: Redis) {
    this.redis = redis;
    this.name = `${redis.options.host}:${redis.options.port}`;
  }

  get isUsable(): boolean {
    return !["end", "close", "disconnecting"].includes(this.redis.status);
  }

  /** Resolves with the identity when the node may be asked; rejects with StartError or HotStoreAway. */
  open(): Promise<string> {
    this.#identity ??= this.#begin().catch((error) => {
      this.#identity = null;
      this.redis.disconnect();
      throw error;
    });
    return this.#identity;
  }

  /** What it was is not sure any more: it may have been a replica meanwhile. */
  forget(): void {
    this.#identity = null;
  }

  /** Reads the identity again. Ends the connection if it does not answer. */
  async look(): Promise<void> {
    await this.open();
    try {
      const info = await within(look(this.#ask), `looking at Redis ${this.name}`);
      this.#identity = Promise.resolve(identityOf(info) ?? NAMELESS);
    } catch (error) {
      this.redis.disconnect();
      throw away(error);
    }
  }

  async load(scripts: readonly Script[]): Promise<void> {
    const loaded = Promise.all(scripts.map((script) => this.redis.script("LOAD", script.text)));
    await within(loaded, `loading scripts into Redis ${this.name}`).catch((error) => {
      throw away(error);
    });
  }

  /**
   * A value or an Error for each call. A second key that never exists goes with each: while the slot moves to another
   * node, Redis refuses what names a key that is there and one that is not (TRYAGAIN), and the script does not run on
   * half of the shard's keys.
   */
  async send(calls: readonly ScriptCall[], identity: string): Promise<unknown[]> {
    const pipeline = this.redis.pipeline(
      calls.map(({ script, key, args }) => ["evalsha", script.sha, "2", key, `${key}:never`, identity, ...args]),
    );
    try {
      const answers = (await within(pipeline.exec(), `an answer of Redis ${this.name}`)) ?? [];
      const closed = answers.find(([error]) => error && !isReply(error));
      if (closed) throw closed[0];
      return answers.map(([error, value]) => error ?? value);
    } catch (error) {
      this.redis.disconnect();
      throw away(error);
    }
  }

  async #begin(): Promise<string> {
    try {
      if (this.redis.status === "wait") await within(this.redis.connect(), `connecting to Redis ${this.name}`);
      const info = await within(inspect(this.#ask), `the first answer of Redis ${this.name}`);
      await this.load(Object.values(SCRIPTS));
      return identityOf(info) ?? NAMELESS;
    } catch (error) {
      throw away(error);
    }
  }

  readonly #ask: Ask = (command, ...args) => this.redis.call(command, ...args);
}

/** What Redis has answered, as opposed to what ioredis says of the connection. */
function isReply(error: Error): boolean {
  return error.name === "ReplyError";
}

/** What the connection says is an operating error, whatever class ioredis has for it. */
function away(error: unknown): unknown {
  if (error instanceof StartError || error instanceof HotStoreAway || error instanceof TypeError) return error;
  return new HotStoreAway(messageOf(error));
}
