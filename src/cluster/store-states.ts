import type { NodePart } from "../ports/node.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import type { StoreName, StoreState } from "./messages.ts";
import { StoreNews } from "./store-news.ts";

/** The stores as the threads of this process find them, for /readyz, /metrics and the log: up where nobody says anything else. */
export class StoreStates {
  readonly #changed: () => void;
  readonly #news: StoreNews;
  /** By thread and store. */
  readonly #down = new Map<string, { name: StoreName; part: NodePart }>();

  constructor(changed: () => void, news = (parts: StoreStates["parts"]) => new StoreNews({ parts })) {
    this.#changed = changed;
    this.#news = news(() => this.parts());
  }

  /** What one thread says of a store; or the start, until the log thread has something to say. */
  set(who: "start" | "log" | "projector", name: StoreName, { isUp, detail }: StoreState): void {
    const key = `${who} ${name}`;
    const found = this.#down.get(`start ${name}`)?.part;
    const before = this.#down.get(key)?.part ?? found;
    const isSame = isUp ? before === undefined : before?.detail === detail;
    if (isSame && (found === undefined || who !== "log")) return;
    if (who === "log") this.#down.delete(`start ${name}`);
    if (isUp) this.#down.delete(key);
    else
      this.#down.set(key, { name, part: { status: "down", since: before?.since ?? new Date().toISOString(), detail } });
    this.#news.look();
    this.#changed();
  }

  parts(): Record<StoreName, NodePart> {
    const parts: Record<StoreName, NodePart> = {
      redis: { status: "up" },
      kafka: { status: "up" },
      mysql: { status: "up" },
    };
    for (const { name, part } of this.#down.values()) parts[name] = part;
    return parts;
  }

  readings(): Reading[] {
    return Object.entries(this.parts()).map(([store, { status }]) => ({
      name: "tally_store_up",
      help: "Whether a store can be reached",
      value: status === "up" ? 1 : 0,
      labels: { store },
    }));
  }
}
