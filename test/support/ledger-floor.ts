import mysql from "mysql2/promise";
import type { ClusterWorld } from "./cluster-world.ts";
import { pathOf, subjectOf } from "./load.ts";

const SUBJECTS = 24;
const LOOK_EVERY_MS = 60;
/** A node shows what others counted a flush later; after a trouble a second or two may go by until all is told again. */
const LATE_MS_MAX = 5_000;

type Sums = Map<string, number>;

/**
 * Looks at what clients only ever add to, on every node, again and again: never is less shown than the ledger had some
 * seconds before, and never more than has been sent.
 */
export class LedgerFloor implements AsyncDisposable {
  readonly #world: ClusterWorld;
  readonly #ledger: mysql.Connection;
  readonly #lateMsMax: number;
  readonly #seen: { at: number; sums: Sums }[] = [];
  readonly #watch: Promise<void>;
  #stopping = false;
  /** Looks that had something of the ledger to be compared with. */
  looks = 0;

  private constructor(world: ClusterWorld, ledger: mysql.Connection, lateMsMax: number) {
    this.#lateMsMax = lateMsMax;
    this.#world = world;
    this.#ledger = ledger;
    this.#watch = this.#run();
  }

  static async watch(world: ClusterWorld, lateMsMax = LATE_MS_MAX): Promise<LedgerFloor> {
    return new LedgerFloor(world, await mysql.createConnection(world.stores.mysql.url), lateMsMax);
  }

  /** May be called again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#watch;
    this.#ledger.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(): Promise<void> {
    const { nodes, book } = this.#world;
    for (let turn = 0; !this.#stopping; turn++) {
      await this.#readLedger().catch((error) => book.must(false, () => `MySQL cannot be read: ${error}`));
      const subject = subjectOf(turn % SUBJECTS);
      const asked = nodes.flatMap((node, index) => (node ? [this.#look(node.url, index, subject)] : []));
      await Promise.all(asked).catch((error) => book.must(false, () => `a look at ${subject} failed: ${error}`));
      await Bun.sleep(LOOK_EVERY_MS);
    }
  }

  async #readLedger(): Promise<void> {
    const [rows] = await this.#ledger.query<mysql.RowDataPacket[]>(
      "SELECT subject, name, count FROM counts JOIN metrics ON id = metric WHERE name IN ('views', 'shares')",
    );
    const sums = new Map(rows.map(({ subject, name, count }) => [`${name} ${subject}`, Number(count)]));
    this.#seen.push({ at: performance.now(), sums });
  }

  async #look(url: string, node: number, subject: string): Promise<void> {
    const { book, allowed } = this.#world;
    const floor = this.#floor();
    const answer = await fetch(new URL(pathOf(subject), url));
    const text = await answer.text();
    if (answer.status === 503 && allowed.unreadable) return;
    book.must(answer.status === 200, () => `node ${node}: ${subject} was answered ${answer.status} ${text}`);
    if (answer.status !== 200) return;
    const { counts } = JSON.parse(text) as { counts: Record<string, number> };
    for (const [name, of] of [["views", book.views] as const, ["shares", book.keyed] as const]) {
      const shown = counts[name] ?? -1;
      const least = floor.get(`${name} ${subject}`) ?? 0;
      const { most } = book.tally(of, subject);
      book.must(
        shown >= least,
        () => `node ${node}: ${name} of ${subject} were shown as ${shown}, the ledger had ${least}`,
      );
      book.must(shown <= most, () => `node ${node}: ${name} of ${subject} were shown as ${shown} of ${most}`);
      if (least > 0) this.looks++;
    }
  }

  /** What the ledger had `lateMsMax` ago. */
  #floor(): Sums {
    const before = performance.now() - this.#lateMsMax;
    while ((this.#seen[1]?.at ?? Number.POSITIVE_INFINITY) <= before) this.#seen.shift();
    const [oldest] = this.#seen;
    return oldest && oldest.at <= before ? oldest.sums : new Map();
  }
}
