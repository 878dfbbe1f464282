import { createConnection } from "mysql2/promise";

/** Requests under way at once, from a client that should not be in the way. */
const READERS = 16;

/** The number that stands for a metric in the ledger's tables. */
export async function metricNumber(url: string, name: string): Promise<number> {
  return withMysql(url, async (query) => {
    const [row] = (await query("SELECT id FROM metrics WHERE name = ?", [name])) as { id: number }[];
    if (!row) throw new Error(`the ledger has no metric ${name}`);
    return row.id;
  });
}

/** Runs statements one after the other on a connection of their own. */
export async function withMysql<T>(
  url: string,
  use: (query: (statement: string, values?: unknown[]) => Promise<unknown>) => Promise<T>,
): Promise<T> {
  const connection = await createConnection({ uri: url });
  try {
    return await use(async (statement, values) => (await connection.query(statement, values))[0]);
  } finally {
    connection.destroy();
  }
}

/** Asks a server for counts, each as `{type}/{id}/{metric}`; in their order. */
export async function readCounts(url: string, paths: readonly string[]): Promise<number[]> {
  const counts: number[] = new Array(paths.length).fill(0);
  let next = 0;
  const read = async () => {
    for (let at = next++; at < paths.length; at = next++) {
      const response = await fetch(`${url}/v1/subjects/${paths[at]}`);
      if (!response.ok) throw new Error(`GET ${paths[at]} answers ${response.status}: ${await response.text()}`);
      counts[at] = ((await response.json()) as { count: number }).count;
    }
  };
  await Promise.all(Array.from({ length: READERS }, read));
  return counts;
}
