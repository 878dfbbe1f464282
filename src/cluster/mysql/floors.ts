import type { Stamp } from "../../arithmetic/stamp.ts";
import { actorHash } from "../../local/actor-hash.ts";
import type { RegisterChange } from "../../ports/ledger.ts";
import type { LedgerConnection } from "./connection.ts";
import { hexSql, rowsSql, wholeSql } from "./sql.ts";

/** The row that stands for those of all shards. */
const ALL_SHARDS = 256;
const LOOK_ROWS = 500;

/** Until when nothing an actor did counts any more, by shard. */
export class Floors {
  readonly #stamps: ReadonlyMap<string, Stamp>;

  private constructor(stamps: ReadonlyMap<string, Stamp>) {
    this.#stamps = stamps;
  }

  static async of(connection: LedgerConnection, actors: Iterable<string>): Promise<Floors> {
    const stamps = new Map<string, Stamp>();
    const hashes = Array.from(new Set(actors), hashOf);
    for (let from = 0; from < hashes.length; from += LOOK_ROWS) {
      const rows = await connection.ask(
        `SELECT actor, shard, stamp FROM floors WHERE actor IN (${rowsSql(hashes, hexSql, from, from + LOOK_ROWS)})`,
      );
      for (const [hash, shard, stamp] of rows)
        stamps.set(`${(hash as Buffer).toString("hex")} ${shard}`, Number(stamp));
    }
    return new Floors(stamps);
  }

  at(shard: number, actor: string): Stamp {
    if (this.#stamps.size === 0) return 0;
    const hash = hashOf(actor);
    return Math.max(this.#stamps.get(`${hash} ${shard}`) ?? 0, this.#stamps.get(`${hash} ${ALL_SHARDS}`) ?? 0);
  }
}

function hashOf(actor: string): string {
  return actorHash(actor).toString("hex");
}

/** The highest floor there is; what is stamped above it need not be looked up. */
export async function highestFloor(connection: LedgerConnection): Promise<Stamp> {
  const [row] = await connection.ask("SELECT MAX(stamp) FROM floors");
  return Number(row?.[0] ?? 0);
}

/** The changes that count, and those of erased actors, which do not; in their order. */
export async function sortOut(
  connection: LedgerConnection,
  changes: RegisterChange[],
): Promise<{ living: RegisterChange[]; refused: RegisterChange[] }> {
  if (changes.length === 0) return { living: changes, refused: [] };
  const highest = await highestFloor(connection);
  const isLate = ({ stamp, way }: RegisterChange) => stamp <= highest || (way?.[0] ?? stamp) <= highest;
  const late = highest === 0 ? [] : changes.filter(isLate);
  if (late.length === 0) return { living: changes, refused: [] };
  const floors = await Floors.of(
    connection,
    late.map(({ actor }) => actor),
  );
  const refused: RegisterChange[] = [];
  const living = changes.flatMap((change) => {
    const floor = isLate(change) ? floors.at(change.shard, change.actor) : 0;
    if (change.stamp <= floor) {
      refused.push(change);
      return [];
    }
    return [floor > 0 && change.way ? { ...change, way: change.way.filter((stamp) => stamp > floor) } : change];
  });
  return { living, refused };
}

/** From now on in these shards; where all have it, in one row. */
export async function raiseFloor(
  connection: LedgerConnection,
  actor: string,
  stamp: Stamp,
  shards: readonly number[],
): Promise<void> {
  const hash = hexSql(hashOf(actor));
  const whole = wholeSql(stamp);
  const row = (shard: number) => `(${hash},${wholeSql(shard)},${whole})`;
  const update = "ON DUPLICATE KEY UPDATE stamp = GREATEST(stamp, VALUES(stamp))";
  await connection.write(`INSERT INTO floors (actor, shard, stamp) VALUES ${rowsSql(shards, row)} ${update}`);
  const ofIt = `actor = ${hash} AND shard < ${ALL_SHARDS}`;
  const [there] = await connection.ask(`SELECT COUNT(*) FROM floors WHERE ${ofIt} AND stamp >= ${whole}`);
  if (Number(there?.[0]) < ALL_SHARDS) return;
  await connection.write(`INSERT INTO floors (actor, shard, stamp) VALUES ${row(ALL_SHARDS)} ${update}`);
  await connection.write(`DELETE FROM floors WHERE ${ofIt} AND stamp <= ${whole}`);
}
