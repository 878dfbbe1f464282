import { expect } from "bun:test";
import { type ClusterWorld, metricsOf } from "./cluster-world.ts";
import { eventually } from "./eventually.ts";

const LOOK_EVERY_MS = 40;

interface Still {
  subject: string;
  path: string;
  counts: { likes: number; views: number; shares: number };
}

/**
 * Subjects on which nothing happens any more, looked at on every node again and again: whatever befalls a store, a count of
 * theirs is what it is, or is not told at all.
 */
export class StillCounts implements AsyncDisposable {
  readonly #world: ClusterWorld;
  readonly #subjects: readonly Still[];
  readonly #watch: Promise<void>;
  #stopping = false;
  looks = 0;
  refused = 0;

  private constructor(world: ClusterWorld, subjects: readonly Still[]) {
    this.#world = world;
    this.#subjects = subjects;
    this.#watch = this.#run();
  }

  /** Makes them, and resolves when every node shows them. Before there is any load, as the ledger is waited for. */
  static async make(world: ClusterWorld, count: number): Promise<StillCounts> {
    const subjects = Array.from({ length: count }, (_, i) => ({
      subject: `article/still-${i}`,
      path: `/v1/subjects/article/still-${i}`,
      counts: { likes: 1 + (i % 5), views: 10 + i, shares: 100 + i },
    }));
    const send = async (method: string, path: string, body?: object) => {
      const json = body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
      const answer = await fetch(new URL(path, world.node(0).url), { method, ...json });
      expect([200, 202]).toContain(answer.status);
    };
    for (const { path, counts } of subjects) {
      for (let actor = 0; actor < counts.likes; actor++) await send("PUT", `${path}/likes/still-${actor}`);
      await send("POST", `${path}/views`, { by: counts.views });
      await send("POST", `${path}/shares`, { by: counts.shares });
    }
    await eventually(async () => {
      for (let node = 0; node < world.nodes.length; node++) {
        for (const { path, counts } of subjects)
          expect((await world.node(node).json(path)).counts).toMatchObject(counts);
        expect((await metricsOf(world.node(node))).get("tally_outbox_bytes")).toBe(0);
      }
    }, 30_000);
    await world.settle();
    return new StillCounts(world, subjects);
  }

  get subjects(): string[] {
    return this.#subjects.map(({ subject }) => subject);
  }

  /** May be called again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#watch;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(): Promise<void> {
    const { nodes, book } = this.#world;
    for (let turn = 0; !this.#stopping; turn++) {
      const { path, counts } = this.#subjects[turn % this.#subjects.length] as Still;
      const asked = nodes.flatMap((node, index) => (node ? [this.#look(node.url, index, path, counts)] : []));
      await Promise.all(asked).catch((error) => book.must(false, () => `a look at ${path} failed: ${error}`));
      await Bun.sleep(LOOK_EVERY_MS);
    }
  }

  async #look(url: string, node: number, path: string, counts: Still["counts"]): Promise<void> {
    const { book, allowed } = this.#world;
    const answer = await fetch(new URL(path, url));
    const text = await answer.text();
    this.looks++;
    if (answer.status === 503 && allowed.unreadable) {
      this.refused++;
      return;
    }
    const shown = answer.status === 200 ? (JSON.parse(text) as { counts: Still["counts"] }).counts : null;
    const isRight = Object.entries(counts).every(([name, count]) => shown?.[name as keyof Still["counts"]] === count);
    book.must(
      isRight,
      () => `node ${node}: ${path} was shown as ${answer.status} ${text}, not ${JSON.stringify(counts)}`,
    );
  }
}
