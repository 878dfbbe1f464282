import type { MessagePort } from "node:worker_threads";
import { WINDOWS, type WindowName } from "../arithmetic/windows.ts";
import { unavailable } from "../errors.ts";
import { TOP_AGE_MS_MAX, TOP_WAIT_MS_MAX } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { Rankings, TopList } from "../ports/rankings.ts";
import { type FromRanker, keyOf, type ListName, type ToRanker } from "./messages.ts";

/** The ranker is told again that a list is wanted. */
const REMIND_MS = 10_000;

interface Known {
  remindedMs: number;
  list: TopList | null;
  waiting: ((list: TopList) => void)[];
}

/**
 * The lists that one request thread was told by the ranker of its process. The first who asks for one waits some milliseconds;
 * from then on it is told whenever it changes, and asking costs nothing.
 */
export class TopLists implements Rankings {
  readonly #port: MessagePort;
  readonly #known = new Map<string, Known>();
  #currentMs = Number.NEGATIVE_INFINITY;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on("message", (message: FromRanker) => this.#take(message));
  }

  top(metric: Metric, type: string, window: WindowName): TopList | Promise<TopList> {
    const name: ListName = { metric: metric.id, type, window: WINDOWS.indexOf(window) };
    const nowMs = performance.now();
    const known = this.#want(name, nowMs);
    if (known.list !== null && nowMs - this.#currentMs < TOP_AGE_MS_MAX) return known.list;
    const { promise, resolve, reject } = Promise.withResolvers<TopList>();
    known.waiting.push(resolve);
    setTimeout(() => {
      known.waiting = known.waiting.filter((each) => each !== resolve);
      reject(unavailable("the rankings are not worked out yet: all changes of the last 30 days are read first", 2));
    }, TOP_WAIT_MS_MAX);
    return promise;
  }

  close(): void {
    this.#port.close();
  }

  #want(name: ListName, nowMs: number): Known {
    const key = keyOf(name);
    let known = this.#known.get(key);
    if (known && nowMs - known.remindedMs < REMIND_MS) return known;
    if (known && nowMs - known.remindedMs > 2 * REMIND_MS) known.list = null;
    if (!known) this.#forgetOld(nowMs);
    known ??= { remindedMs: 0, list: null, waiting: [] };
    known.remindedMs = nowMs;
    this.#known.set(key, known);
    this.#port.postMessage(name satisfies ToRanker);
    return known;
  }

  #take(message: FromRanker): void {
    this.#currentMs = performance.now();
    if (message.kind === "current") return;
    const known = this.#known.get(keyOf(message.name));
    if (!known) return;
    known.list = message.list;
    for (const resolve of known.waiting.splice(0)) resolve(message.list);
  }

  /** What nobody asked for lately is not up to date any more. */
  #forgetOld(nowMs: number): void {
    for (const [key, { remindedMs, waiting }] of this.#known) {
      if (nowMs - remindedMs > 2 * REMIND_MS && waiting.length === 0) this.#known.delete(key);
    }
  }
}
