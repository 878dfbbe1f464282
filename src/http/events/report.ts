import { Problem } from "../../errors.ts";
import { EVENT_ERRORS_MAX } from "../../limits.ts";

interface LineError {
  line: number;
  message: string;
}

/** What has become of the lines of one body. */
export class EventReport {
  accepted = 0;
  rejected = 0;
  /** Whether some of it is durable and cannot be shown yet. */
  isLater = false;
  readonly #errors: LineError[] = [];

  reject(line: number, message: string): void {
    this.rejected++;
    const last = this.#errors.at(-1);
    if (this.#errors.length < EVENT_ERRORS_MAX) this.#errors.push({ line, message });
    else if (last && line < last.line) this.#errors[this.#errors.length - 1] = { line, message };
    else return;
    // Lines that had to wait are answered after some that follow them.
    if (last && line < last.line) this.#errors.sort((a, b) => a.line - b.line);
  }

  /** Rejects the line with what the outside has done to us; a bug goes on up. */
  refuse(line: number, error: unknown): void {
    if (!(error instanceof Problem)) throw error;
    this.reject(line, error.message);
  }

  json(): string {
    return JSON.stringify({ accepted: this.accepted, rejected: this.rejected, errors: this.#errors });
  }
}
