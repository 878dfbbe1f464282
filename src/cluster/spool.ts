import { randomBytes } from "node:crypto";
import { tried } from "./away.ts";
import { SPOOL_MS, type SpoolRows } from "./mysql/spools.ts";

const LOOK_MS = 100;
const RENEW_MS = SPOOL_MS / 6;
/** What was told longer ago is not believed any more, in good time before the others do not believe it. */
const TOLD_MS = SPOOL_MS / 2;

/**
 * What the others know of acts that are on this node's disk alone. Redis may lose such an act, and Kafka's end says nothing of
 * it: who took what is there then for all there is would find nothing to undo, or the same to do once more. So no end is
 * believed while there is a spool (LogEnds), and nobody is told more than that his act is durable until the ledger knows of it.
 */
export class Spool {
  readonly #rows: Pick<SpoolRows, "renew" | "remove" | "close">;
  readonly #isEmpty: () => boolean;
  /** Of the row. A new one each time: a request for the old one that lost its answer may take effect later. */
  #id: string | null = null;
  /** When the renewal that succeeded last was begun. */
  #toldMs = Number.NEGATIVE_INFINITY;
  #telling: Promise<boolean> | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `isEmpty`: whether Kafka has every act that is on the disk. */
  constructor(rows: Pick<SpoolRows, "renew" | "remove" | "close">, isEmpty: () => boolean) {
    this.#rows = rows;
    this.#isEmpty = isEmpty;
  }

  /** Resolves when the ledger knows; false where it cannot be told now. Goes on by itself until all is in Kafka. */
  async tell(): Promise<boolean> {
    this.#timer ??= setInterval(() => void this.#look(), LOOK_MS);
    return this.#ageMs() < TOLD_MS || this.#renew();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#rows.close();
  }

  async #look(): Promise<void> {
    if (!this.#isEmpty()) {
      if (this.#ageMs() > RENEW_MS) await this.#renew();
      return;
    }
    if (this.#telling !== null) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    const id = this.#id;
    if (id === null) return;
    this.#id = null;
    this.#toldMs = Number.NEGATIVE_INFINITY;
    // Where this fails the row's time runs out.
    await tried(() => this.#rows.remove(id));
  }

  #renew(): Promise<boolean> {
    this.#telling ??= this.#write().finally(() => {
      this.#telling = null;
    });
    return this.#telling;
  }

  async #write(): Promise<boolean> {
    const began = performance.now();
    const id = this.#id ?? randomBytes(9).toString("base64url");
    this.#id = id;
    const error = await tried(() => this.#rows.renew(id));
    if (error === null) this.#toldMs = began;
    return error === null;
  }

  #ageMs(): number {
    return performance.now() - this.#toldMs;
  }
}
