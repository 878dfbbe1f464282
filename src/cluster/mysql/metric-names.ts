import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";
import { idOf } from "./sql.ts";

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
      const rows = await connection.ask("SELECT id, name FROM metrics");
      return new MetricNames(new Map(rows.map(([id, name]) => [Number(id), idOf(name as Buffer)])));
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
