import { EXIT, StartError } from "../errors.ts";

/** How many lines are named before reading stops. */
const NAMED_MAX = 20;

/** What is wrong with lines of the input. Nothing is done then. */
export class Problems {
  readonly #found: string[] = [];

  add(line: number, message: string): void {
    this.#found.push(`line ${line}: ${message}`);
    if (this.#found.length >= NAMED_MAX) {
      this.#found.push("and perhaps more: reading stopped here");
      this.check();
    }
  }

  get hasNone(): boolean {
    return this.#found.length === 0;
  }

  /** Throws where there are any. */
  check(): void {
    if (this.#found.length === 0) return;
    throw new StartError(`nothing was imported:\n  ${this.#found.join("\n  ")}`, EXIT.data);
  }
}
