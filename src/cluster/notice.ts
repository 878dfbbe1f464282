import { randomBytes } from "node:crypto";
import { tried } from "./away.ts";
import { NOTICE_MS, type NoticeRows } from "./mysql/notices.ts";
import type { NoticeNames } from "./notice-names.ts";

const LOOK_MS = 100;
const RENEW_MS = NOTICE_MS / 6;
/** What was told longer ago is not believed any more, in good time before the others do not believe it. */
const TOLD_MS = NOTICE_MS / 2;
/** Rows to be removed later: as many notices may come and go while MySQL is away. Of more, the oldest run out. */
const ROWS_MAX = 100;

interface NoticeParts {
  rows: Pick<NoticeRows, "renew" | "remove" | "close">;
  names: Pick<NoticeNames, "read" | "write">;
  /** Whether there is nothing to be told of any more, also of what earlier runs left. */
  isEmpty: () => boolean;
}

/**
 * What a node tells the others in MySQL of its acts, for as long as it is so:
 *
 * - `spools`: some are on its disk alone. Redis may lose such an act, and Kafka's end says nothing of it: who took what is there
 *   then for all there is would find nothing to undo, or the same to do once more. So no end is believed while there is one
 *   (LogEnds), and nobody is told more than that his act is durable until the ledger knows of it.
 * - `unseen`: some are in no copy, and Redis could not be told either. Who finds nothing to do asks for that (Acts).
 *
 *     quiet ──(tell: its row is named on the disk, then written)──▸ told, renewed ──(nothing any more)──▸ over: all rows that
 *     are named on the disk are removed, also those of a run that was killed ──▸ quiet
 *
 * Whatever was asked of MySQL without an answer may be done later, also for a run that was killed. So each time it is another
 * row, and those are removed that are known by name: a removal that comes late finds nothing that anyone needs, and a row
 * that comes late holds the others up until its time runs out, and hides nothing from them.
 */
export class Notice {
  readonly #rows: NoticeParts["rows"];
  readonly #names: NoticeParts["names"];
  readonly #isEmpty: () => boolean;
  /** Of the row; null where all are over. */
  #id: string | null = null;
  /** Of all rows that may be there, as the disk has them. */
  #ids: readonly string[];
  /** When the renewal that succeeded last was begun. */
  #toldMs = Number.NEGATIVE_INFINITY;
  #telling: Promise<boolean> | null = null;
  #isRemoving = false;
  #isClosed = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor({ rows, names, isEmpty }: NoticeParts) {
    this.#rows = rows;
    this.#names = names;
    this.#isEmpty = isEmpty;
    this.#ids = names.read();
    if (this.#ids.length > 0) this.#watch();
  }

  /** Resolves when the ledger knows; false where it cannot be told now. Goes on by itself until there is nothing any more. */
  async tell(): Promise<boolean> {
    this.#watch();
    return this.#ageMs() < TOLD_MS || this.#renew();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#rows.close();
  }

  #watch(): void {
    if (!this.#isClosed) this.#timer ??= setInterval(() => void this.#look(), LOOK_MS);
  }

  async #look(): Promise<void> {
    if (!this.#isEmpty()) {
      if (this.#ageMs() > RENEW_MS) await this.#renew();
      return;
    }
    if (this.#telling !== null || this.#isRemoving) return;
    this.#id = null;
    this.#toldMs = Number.NEGATIVE_INFINITY;
    const over = this.#ids;
    this.#isRemoving = true;
    const error = await tried(() => this.#rows.remove(over));
    this.#isRemoving = false;
    // Tried again with the next look.
    if (error !== null) return;
    // There may be another one by now.
    this.#keep(this.#ids.filter((id) => !over.includes(id)));
    if (this.#ids.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #renew(): Promise<boolean> {
    this.#telling ??= this.#write().finally(() => {
      this.#telling = null;
    });
    return this.#telling;
  }

  async #write(): Promise<boolean> {
    const began = performance.now();
    const id = this.#id ?? this.#newId();
    const error = await tried(() => this.#rows.renew(id));
    if (error === null) this.#toldMs = began;
    return error === null;
  }

  #newId(): string {
    const id = randomBytes(9).toString("base64url");
    this.#id = id;
    this.#keep([...this.#ids, id].slice(-ROWS_MAX));
    return id;
  }

  #keep(ids: readonly string[]): void {
    this.#ids = ids;
    this.#names.write(ids);
  }

  #ageMs(): number {
    return performance.now() - this.#toldMs;
  }
}

/**
 * Tells of acts that no copy shows, and of a spool (null: there is none) before: who hears of the one looks for the other at the
 * log's end. False where one of them could not be told.
 */
export async function tellUnseen(unseen: Notice, spool: Notice | null): Promise<boolean> {
  const isSpoolTold = spool === null || (await spool.tell());
  return (await unseen.tell()) && isSpoolTold;
}
