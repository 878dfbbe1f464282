import type { MetricKind } from "../../model.ts";
import type { Agreed } from "../agreed.ts";
import type { Driver, Reply } from "./driver.ts";
import { Names } from "./names.ts";
import { list } from "./replies.ts";
import { SCRIPTS } from "./scripts.ts";

const METRIC = "m:";

/** Redis as one more place where it stands what all nodes have agreed on. Rejects with HotStoreAway where it cannot be asked. */
export class AgreedCopy {
  readonly #driver: Driver;
  readonly #key: string;

  constructor(driver: Driver, prefix: string) {
    this.#driver = driver;
    this.#key = new Names(prefix).agreed;
  }

  /** May be repeated, by all nodes. Whether another ledger's copy was there, which is gone now. */
  async put({ incarnation, partitions, metrics }: Agreed): Promise<boolean> {
    const each = metrics.flatMap(({ name, id, kind }) => [name, `${id} ${kind}`]);
    const before = await this.#run([incarnation, String(partitions), ...each]);
    return before !== null && before !== incarnation;
  }

  /** Null where nobody has put it, or it is lost. */
  async read(): Promise<Agreed | null> {
    const fields = list(await this.#run([])).map(String);
    const values = new Map<string, string>();
    for (let i = 0; i < fields.length; i += 2) values.set(fields[i] as string, fields[i + 1] as string);
    const partitions = Number(values.get("partitions") ?? 0);
    if (partitions === 0) return null;
    const metrics = [...values].flatMap(([field, value]) => {
      if (!field.startsWith(METRIC)) return [];
      const [id, kind] = value.split(" ") as [string, MetricKind];
      return { id: Number(id), name: field.slice(METRIC.length), kind };
    });
    return { incarnation: values.get("incarnation") ?? "", metrics, partitions };
  }

  async #run(args: readonly string[]): Promise<Reply> {
    const [reply] = await this.#driver.run([{ script: SCRIPTS.agreed, key: this.#key, args }]);
    return reply as Reply;
  }
}
