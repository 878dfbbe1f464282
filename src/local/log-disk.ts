import type { NodePart } from "../ports/node.ts";
import { log } from "../telemetry/log.ts";

/** Whether the disk takes what is logged, as main is told. */
export class LogDisk {
  readonly #name: string;
  readonly #changed: () => void;
  part: NodePart = { status: "up" };

  constructor(name: "log" | "outbox", changed: () => void) {
    this.#name = name;
    this.#changed = changed;
  }

  /** What the disk says, null: it takes everything again. */
  tell(trouble: string | null): void {
    if (trouble === null) log.info(`the ${this.#name} can be written again`);
    else log.error(`the ${this.#name} cannot be written: writes are refused until there is room`, { detail: trouble });
    this.part =
      trouble === null ? { status: "up" } : { status: "down", since: new Date().toISOString(), detail: trouble };
    this.#changed();
  }

  get isFull(): boolean {
    return this.part.status === "down";
  }
}
