import type { MetricKind } from "../../model.ts";
import type { StoredMetric } from "../../ports/metric-numbers.ts";
import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";
import { idOf } from "./sql.ts";

/** All that the ledger has ever numbered, as this connection sees it. */
export async function storedMetrics(connection: LedgerConnection): Promise<StoredMetric[]> {
  const rows = await connection.ask("SELECT id, name, kind FROM metrics");
  return rows.map(([id, name, kind]) => {
    return { id: Number(id), name: idOf(name as Buffer), kind: String(kind) as MetricKind };
  });
}

/** What the ledger's metrics are called, for those who read of them. */
export class MetricNames {
  readonly #names: ReadonlyMap<number, string>;

  constructor(names: ReadonlyMap<number, string>) {
    this.#names = names;
  }

  /** Rejects with LedgerUnavailable where MySQL cannot be asked. */
  static async read(url: string): Promise<MetricNames> {
    const connection = await LedgerConnection.open(url, PATIENT);
    try {
      return new MetricNames(new Map((await storedMetrics(connection)).map(({ id, name }) => [id, name])));
    } catch (error) {
      throw asUnavailable(error);
    } finally {
      connection.close();
    }
  }

  /** One that has lost its row is told by its number. */
  of(metric: number): string {
    return this.#names.get(metric) ?? `metric ${metric}`;
  }
}
