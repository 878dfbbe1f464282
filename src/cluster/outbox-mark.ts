import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isSystemError } from "../errors.ts";
import { type LogHead, type LogWriter, logStart } from "../local/log.ts";
import type { Position } from "../ports/log.ts";

const NAME = "applied.json";
const WRITE_EVERY_MS = 10_000;

interface Content {
  applied: Position;
}

/**
 * Up to where the ledger has the outbox, for the threads of this node and, in a file beside its records, for the next run.
 *
 * The outbox goes by files of 16 MiB, in which there is room for weeks. Were all that still stands in them sent again by each
 * start, numbers would tell what is decided, but not of uploads: the ledger forgets those when the log has forgotten them, and
 * a start days later would have them count once more.
 *
 * What is in front of the mark is on the disk before the mark is. One behind the outbox's end, as in a copy of two moments, says
 * nothing of what will be written there, and goes. Without a mark everything is sent again.
 */
export class OutboxMark {
  readonly #path: string;
  readonly #outbox: Pick<LogWriter, "sync" | "head">;
  readonly #applied: LogHead;
  #written: Position;
  #writtenMs = Number.NEGATIVE_INFINITY;

  /** `folder`: of the outbox, which is there and locked. `applied` gets the mark. */
  constructor(folder: string, outbox: Pick<LogWriter, "sync" | "head">, applied: LogHead) {
    this.#path = join(folder, NAME);
    this.#outbox = outbox;
    this.#applied = applied;
    this.#written = this.#read();
    const start = logStart(folder) ?? 0;
    const isBehind = this.#written > outbox.head;
    applied.position = isBehind ? start : Math.max(start, this.#written);
    if (isBehind) this.#write();
  }

  get position(): Position {
    return this.#applied.position;
  }

  /** The ledger has it up to there. */
  moveTo(position: Position): void {
    this.#applied.position = position;
    if (performance.now() - this.#writtenMs > WRITE_EVERY_MS) this.#write();
  }

  close(): void {
    this.#write();
  }

  #read(): Position {
    try {
      return (JSON.parse(readFileSync(this.#path, "utf8")) as Content).applied;
    } catch (error) {
      if (isSystemError(error) || error instanceof SyntaxError) return 0;
      throw error;
    }
  }

  /** A disk that refuses it has the next run send more again. */
  #write(): void {
    const applied = this.position;
    if (applied === this.#written) return;
    try {
      this.#outbox.sync();
      writeFileSync(`${this.#path}.new`, JSON.stringify({ applied } satisfies Content));
      renameSync(`${this.#path}.new`, this.#path);
      this.#written = applied;
    } catch (error) {
      if (!isSystemError(error)) throw error;
    }
    this.#writtenMs = performance.now();
  }
}
