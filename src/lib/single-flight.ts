/** Of all who ask for the same thing at once, one does the work and the others get what it got. */
export class SingleFlight<K, R> {
  readonly #flights = new Map<K, Promise<R>>();

  do(key: K, work: () => Promise<R>): Promise<R> {
    const under = this.#flights.get(key);
    if (under) return under;
    const flight = work().finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }
}
