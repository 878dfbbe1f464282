import type { Actor } from "../../model.ts";
import type { CountName } from "../../ports/hot-store.ts";
import type { Row } from "./connection.ts";
import { idOf } from "./sql.ts";

export function nameOf(name: CountName & { actor?: Actor }): string {
  return `${name.metric} ${name.subject}\n${name.actor ?? ""}`;
}

/**
 * Rows of shards (their ids are null) and of what was asked for, apart. `ids`: how many columns name it, before its
 * metric.
 */
export function sorted(
  rows: readonly Row[],
  ids: 1 | 2,
): { versions: Map<number, number>; found: Map<string, number> } {
  const versions = new Map<number, number>();
  const found = new Map<string, number>();
  for (const row of rows) {
    const subject = row[ids - 1];
    const metric = row[ids];
    const value = Number(row[ids + 1]);
    if (subject === null) versions.set(Number(metric), value);
    else if (metric !== null) {
      const actor = ids === 2 ? idOf(row[0] as Buffer) : "";
      found.set(nameOf({ metric: Number(metric), subject: idOf(subject as Buffer), actor }), value);
    }
  }
  return { versions, found };
}
