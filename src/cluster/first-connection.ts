import { LOOK_MS_MAX } from "../limits.ts";
import type { Driver, DriverState, Reply, ScriptCall } from "./redis/driver.ts";

/**
 * A driver whose first connection is waited for, as long as a look may take at most. A thread listens before its connection
 * stands, and the first callers of a healthy store would be told that it is away.
 */
export class FirstConnection implements Driver {
  readonly #driver: Driver;
  /** Null once it is known whether the store can be asked. */
  #begun: Promise<void> | null;

  constructor(driver: Driver) {
    this.#driver = driver;
    const known = driver.checkServer().catch(() => undefined);
    this.#begun = Promise.race([known, Bun.sleep(LOOK_MS_MAX)]).then(() => {
      this.#begun = null;
    });
  }

  async run(calls: readonly ScriptCall[]): Promise<Reply[]> {
    if (this.#begun) await this.#begun;
    return this.#driver.run(calls);
  }

  async refresh(): Promise<void> {
    if (this.#begun) await this.#begun;
    return this.#driver.refresh();
  }

  checkServer(): Promise<void> {
    return this.#driver.checkServer();
  }

  get state(): DriverState {
    return this.#driver.state;
  }

  onState(listener: (state: DriverState) => void): void {
    this.#driver.onState(listener);
  }

  close(): Promise<void> {
    return this.#driver.close();
  }
}
