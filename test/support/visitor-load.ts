import { random } from "./random.ts";

/** Requests of many visitors at once. */
const CONNECTIONS = 24;

/**
 * Visitors who come again and again to one subject, at whichever node: what they were told, for a comparison with the count.
 */
export class VisitorLoad {
  /** How often each visitor was told that he counted. */
  readonly counted: Uint8Array;
  /** Visitors with a request that was never answered: it may have counted. */
  readonly lost = new Set<number>();
  readonly wrong: string[] = [];
  readonly #seed: number;

  constructor(visitors: number, seed: number) {
    this.counted = new Uint8Array(visitors);
    this.#seed = seed;
  }

  get visitors(): number {
    return this.counted.length;
  }

  /** How many were told that they counted. */
  get acknowledged(): number {
    return this.counted.reduce((sum, times) => sum + times, 0);
  }

  /** Every visitor comes `times` times, in an order of chance; ends early once `until` resolves. */
  async run(
    urls: () => readonly string[],
    path: string,
    { times = 2, until }: { times?: number; until?: Promise<unknown> } = {},
  ) {
    const dice = random(this.#seed);
    let isOver = false;
    void until?.then(() => {
      isOver = true;
    });
    const order = Array.from({ length: times * this.visitors }, (_, i) => i % this.visitors);
    for (let i = order.length - 1; i > 0; i--) {
      const other = dice.below(i + 1);
      [order[i], order[other]] = [order[other] as number, order[i] as number];
    }
    let next = 0;
    const one = async () => {
      while (next < order.length && !isOver) {
        const visitor = order[next++] as number;
        const all = urls();
        await this.#visit(all[next % all.length] as string, path, visitor);
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, one));
  }

  async #visit(url: string, path: string, visitor: number): Promise<void> {
    let status: number;
    let json: { counted?: boolean };
    try {
      // Half of them are actors, half are browsers.
      const isActor = visitor % 2 === 0;
      const answer = await fetch(new URL(path, url), {
        method: "POST",
        headers: { "user-agent": `browser ${visitor}`, ...(isActor && { "content-type": "application/json" }) },
        ...(isActor && { body: JSON.stringify({ actor: `actor ${visitor}` }) }),
      });
      status = answer.status;
      json = (await answer.json()) as { counted?: boolean };
    } catch {
      this.lost.add(visitor);
      return;
    }
    if (status === 503) return;
    if (status !== 200 && status !== 202) this.wrong.push(`${visitor} was answered ${status}`);
    if (json.counted === false) return;
    const times = (this.counted[visitor] as number) + 1;
    this.counted[visitor] = times;
    if (times > 1) this.wrong.push(`${visitor} counted ${times} times`);
  }
}
