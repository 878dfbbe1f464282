/**
 * Gathers what is submitted one by one into calls for many: whatever comes within one turn of the event loop, and, while
 * `flightsMax` calls are under way, whatever comes until one of them has ended. A call that rejects rejects all its items.
 */
export class Batcher<T, R> {
  readonly #run: (items: T[]) => Promise<readonly R[]>;
  readonly #itemsMax: number;
  readonly #flightsMax: number;
  #waiting: { item: T; resolve: (result: R) => void; reject: (error: unknown) => void }[] = [];
  #flights = 0;
  #isPlanned = false;

  constructor(run: (items: T[]) => Promise<readonly R[]>, bounds: { itemsMax: number; flightsMax: number }) {
    this.#run = run;
    this.#itemsMax = bounds.itemsMax;
    this.#flightsMax = bounds.flightsMax;
  }

  submit(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#plan();
    });
  }

  #plan(): void {
    if (this.#isPlanned || this.#flights >= this.#flightsMax || this.#waiting.length === 0) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      void this.#fly();
      this.#plan();
    });
  }

  async #fly(): Promise<void> {
    const flight = this.#waiting.splice(0, this.#itemsMax);
    if (flight.length === 0) return;
    this.#flights++;
    try {
      const results = await this.#run(flight.map(({ item }) => item));
      for (const [i, { resolve }] of flight.entries()) resolve(results[i] as R);
    } catch (error) {
      for (const { reject } of flight) reject(error);
    } finally {
      this.#flights--;
      this.#plan();
    }
  }
}
