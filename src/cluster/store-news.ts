import type { NodePart } from "../ports/node.ts";
import { log as ownLog } from "../telemetry/log.ts";
import type { StoreName } from "./messages.ts";

/** So soon after it was said that a store is away it is not said again: at most two lines of each in that time. */
const QUIET_MS = 10_000;
const NAMES: Record<StoreName, string> = { redis: "Redis", kafka: "Kafka", mysql: "MySQL" };

interface Parts {
  /** How the stores are now. */
  parts(): Record<StoreName, NodePart>;
  log?: Pick<typeof ownLog, "info" | "warn">;
  later?(work: () => void, ms: number): void;
}

/**
 * Says in the log that a store is away, and that it is back, once for all threads of the process.
 *
 *     up ──▸ away, said ──▸ up, said        away again while it is quiet: said at the end of that, if it still is
 */
export class StoreNews {
  readonly #parts: Required<Parts>;
  /** Those of which the last that was said is that they are away. */
  readonly #away = new Set<StoreName>();
  readonly #quiet = new Set<StoreName>();

  constructor({ parts, log = ownLog, later = (work, ms) => void setTimeout(work, ms).unref() }: Parts) {
    this.#parts = { parts, log, later };
  }

  /** Looks how the stores are. Called at each change. */
  look(): void {
    const { log, parts } = this.#parts;
    const now = parts();
    for (const store of Object.keys(now) as StoreName[]) {
      const { status, detail } = now[store];
      const isAway = status === "down";
      if (isAway === this.#away.has(store)) continue;
      if (isAway && this.#quiet.has(store)) continue;
      if (isAway) {
        this.#away.add(store);
        this.#beQuiet(store);
        log.warn(`${NAMES[store]} is away`, { store, reason: detail });
      } else {
        this.#away.delete(store);
        log.info(`${NAMES[store]} is back`, { store });
      }
    }
  }

  #beQuiet(store: StoreName): void {
    this.#quiet.add(store);
    this.#parts.later(() => {
      this.#quiet.delete(store);
      this.look();
    }, QUIET_MS);
  }
}
