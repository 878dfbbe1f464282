import { log } from "../telemetry/log.ts";
import type { Agreed } from "./agreed.ts";
import type { AgreedCopy } from "./redis/agreed-copy.ts";

/** A Redis that was emptied while nobody acts shows in nothing. */
const EVERY_MS = 60_000;

/** Once where the ledger was replaced; every minute, by all nodes, where some write into another one's database. */
const OTHER_LEDGER =
  "Redis had what the nodes of another ledger agreed on: if this is said again and again, some node of this prefix has another --mysql-url, and counts go astray";

/** Sees to it that Redis has what nodes agree on: at first, whenever it may have lost it, and from time to time. */
export class AgreedKeeper {
  readonly #copy: AgreedCopy;
  #agreed: Agreed;
  #dueMs = 0;

  constructor(copy: AgreedCopy, agreed: Agreed) {
    this.#copy = copy;
    this.#agreed = agreed;
  }

  set(agreed: Agreed): void {
    this.#agreed = agreed;
    this.lost();
  }

  /** Redis is another one, or has lost data. */
  lost(): void {
    this.#dueMs = 0;
  }

  /** Rejects where Redis is away: it stays due. */
  async keep(): Promise<void> {
    const nowMs = performance.now();
    // Of which ledger a directory of an older version remembers, it does not say: that waits for MySQL.
    if (nowMs < this.#dueMs || this.#agreed.incarnation === "") return;
    this.#dueMs = nowMs + EVERY_MS;
    const hadOther = await this.#copy.put(this.#agreed).catch((error) => {
      this.lost();
      throw error;
    });
    if (hadOther) log.warn(OTHER_LEDGER);
  }
}
