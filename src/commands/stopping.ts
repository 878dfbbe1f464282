import { constants } from "node:os";

/** Why and when the process is to stop: a signal, or something that broke. A second signal ends it at once. */
export class Stopping {
  readonly #controller = new AbortController();
  readonly #reason = Promise.withResolvers<string>();

  /** Listens from now on: a signal that comes during a long start must not kill a recovery half way. */
  constructor() {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        // As shells tell of what a signal has ended.
        if (this.#controller.signal.aborted) process.exit(128 + constants.signals[signal]);
        this.#controller.abort();
        this.#reason.resolve(signal);
      });
    }
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get reason(): Promise<string> {
    return this.#reason.promise;
  }

  because(reason: string): void {
    this.#reason.resolve(reason);
  }
}
