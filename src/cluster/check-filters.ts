import { shardOf } from "../arithmetic/shard-of.ts";
import { isSameState, type RegisterName } from "../ports/hot-store.ts";
import type { FilterFiller } from "./filter-filler.ts";
import type { SharedLedger } from "./ledger.ts";
import type { Inspector } from "./redis/inspector.ts";

/** So many of one filter are named: all registers may be missing. */
const NAMED_MAX = 100;

interface Parts {
  inspector: Pick<Inspector, "never" | "unfilter">;
  ledger: Pick<SharedLedger, "everyRegister" | "versionOf">;
  filler: Pick<FilterFiller, "want" | "fill">;
  nameOf(metric: number): string;
  repair: boolean;
  differs(text: string, isMended: boolean): void;
  /** A shard changes while it is looked at: so often, and so far apart, it is tried to see both sides at one version. */
  tries: number;
  pauseMs: number;
}

/**
 * The ledger's registers against the filters by which Redis says of a register that it never was. A page of the ledger is of
 * no version, and what a commit brought stands in the ledger a moment before it stands in the filter; so what is missing there
 * is looked at once more, at one version of both.
 */
export class FilterCheck {
  /** Registers that were asked for. */
  registers = 0;
  readonly #parts: Parts;
  /** How many are named already, by shard. */
  readonly #named = new Map<number, number>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async run(): Promise<void> {
    for await (const page of this.#parts.ledger.everyRegister()) {
      const byShard = Map.groupBy(page, ({ subject }) => shardOf(subject));
      const asked = Array.from(byShard, ([shard, registers]) => ({ shard, registers })).filter(
        ({ shard }) => (this.#named.get(shard) ?? 0) < NAMED_MAX,
      );
      const found = await this.#parts.inspector.never(asked);
      for (const [i, { shard, registers }] of asked.entries()) {
        this.registers += registers.length;
        const { never = [] } = found[i] ?? {};
        if (never.length > 0) await this.#lookAgain(shard, never);
      }
    }
    if (this.#parts.repair) await this.#parts.filler.fill();
  }

  /** What is never at one version is different. A shard that does not come up to the ledger is said to be behind elsewhere. */
  async #lookAgain(shard: number, suspects: readonly RegisterName[]): Promise<void> {
    const { inspector, ledger, tries, pauseMs } = this.#parts;
    for (let left = suspects, look = 0; look < tries && left.length > 0; look++) {
      if (look > 0) await Bun.sleep(pauseMs);
      const { version, stamps } = await ledger.versionOf(shard, left, []);
      const stored = left.filter((_, i) => (stamps[i] ?? 0) > 0);
      const [there] = await inspector.never([{ shard, registers: stored }]);
      left = there?.never ?? [];
      if (there && isSameState(there, version)) {
        return this.#differ(shard, left);
      }
    }
  }

  async #differ(shard: number, never: readonly RegisterName[]): Promise<void> {
    if (never.length === 0) return;
    const { inspector, filler, nameOf, repair, differs } = this.#parts;
    if (repair) {
      await inspector.unfilter(shard);
      filler.want([shard]);
    }
    const before = this.#named.get(shard) ?? 0;
    for (const [i, { metric, subject, actor }] of never.slice(0, NAMED_MAX - before).entries()) {
      const etc = before + i + 1 === NAMED_MAX ? "; no more of this filter are named" : "";
      differs(
        `Redis, shard ${shard}: the filter says never of ${nameOf(metric)} of ${actor} on ${subject}${etc}`,
        repair,
      );
    }
    this.#named.set(shard, before + never.length);
  }
}
