import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isSystemError } from "../errors.ts";
import { bootId } from "../tallies/boot-id.ts";
import type { NoticeKind } from "./mysql/notices.ts";

/** Of which rows, and of which outbox they are. */
interface Content {
  outbox: string;
  ids: string[];
}

/**
 * The rows by which this outbox's notices of one kind were given, in a file beside its records: the run after one that was
 * killed can take them away by their names.
 *
 * A row that stands here may be removed by whoever has shipped what is in the outbox, so nobody may find one here of a node that
 * lives: it may have more to ship by then. A copy of its directory would have it, so the file says where it was written: by
 * boot, device and inode of the folder. As long as a node lives its folder is there, so on this machine no other one has its
 * device and inode, and no other machine has its boot. Whoever reads the file in the very folder where it was written has the
 * lock that the writer had, who is dead therefore. Anywhere else nothing in it is believed, and the rows' time runs out.
 *
 * Nothing is synced: a file that a power cut spoils is of another boot.
 */
export class NoticeNames {
  readonly #path: string;
  readonly #outbox: string;

  /** `folder`: of the outbox, which is there and locked. */
  constructor(folder: string, kind: NoticeKind) {
    this.#path = join(folder, `${kind}.json`);
    const { dev, ino } = statSync(folder, { bigint: true });
    this.#outbox = `${bootId()} ${dev} ${ino}`;
  }

  /** What was written last into this very folder since the machine started. */
  read(): string[] {
    try {
      const { outbox, ids } = JSON.parse(readFileSync(this.#path, "utf8")) as Content;
      return outbox === this.#outbox ? ids : [];
    } catch (error) {
      if (isSystemError(error) || error instanceof SyntaxError) return [];
      throw error;
    }
  }

  /** A disk that refuses it does not matter much: the time of the rows runs out. */
  write(ids: readonly string[]): void {
    try {
      writeFileSync(`${this.#path}.new`, JSON.stringify({ outbox: this.#outbox, ids }));
      renameSync(`${this.#path}.new`, this.#path);
    } catch (error) {
      if (!isSystemError(error)) throw error;
    }
  }
}
