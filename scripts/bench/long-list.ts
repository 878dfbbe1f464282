import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { stampAt } from "../../src/arithmetic/stamp.ts";
import { SqliteLedgerWriter } from "../../src/embedded/ledger.ts";
import { shareLedger } from "../../src/embedded/open-ledger.ts";
import { cursorOf } from "../../src/http/cursor.ts";
import { filesOf } from "../../src/local/files.ts";
import type { Bench } from "./bench.ts";
import { BENCH_DIRECTORY } from "./scratch.ts";
import type { Server } from "./server.ts";

const METRIC = "likes";
export const LISTED = "article/1";
const FIRST_MS = Date.UTC(2026, 0, 1);
const BATCH = 25_000;
/** Coprime to powers of ten: each actor once, in another order than the likes. */
const STRIDE = 7_368_787;

/**
 * Starts a server on a ledger in which one subject has so many likes, each newer than the one before: put in by the ledger's own
 * writer, since through a server it takes an hour. Kept between runs.
 */
export async function startListed(bench: Bench, likes: number): Promise<Server> {
  const kept = join(BENCH_DIRECTORY, "data", `list-${likes}`);
  if (bench.options.fresh || !existsSync(kept)) {
    const data = bench.scratch.directory();
    await (await bench.startTally(data)).stop(); // makes the ledger, with its metrics
    bench.say(`  filling with ${likes.toLocaleString("en")} likes of one subject`);
    fill(filesOf(data).ledger, likes);
    mkdirSync(join(BENCH_DIRECTORY, "data"), { recursive: true });
    bench.scratch.remove(kept);
    renameSync(data, kept);
  }
  return bench.startTally(bench.scratch.copyOf(kept));
}

/** The cursor of page `page`, counted from 1, at `limit` a page. */
export function cursorAt(page: number, { likes, limit }: { likes: number; limit: number }): string {
  const last = likes - limit * (page - 1);
  return cursorOf(["actors", METRIC, LISTED], { stamp: stampOf(last), id: actorOf(last, likes) });
}

function fill(path: string, likes: number): void {
  const db = new Database(path);
  const metric = (db.query("SELECT id FROM metrics WHERE name = ?").get(METRIC) as { id: number }).id;
  const { at } = db.query("SELECT at FROM position").get() as { at: number };
  const writer = new SqliteLedgerWriter(path, shareLedger(path));
  for (let from = 0; from < likes; from += BATCH) {
    const registers = Array.from({ length: Math.min(BATCH, likes - from) }, (_, i) => ({
      shard: 0,
      metric,
      subject: LISTED,
      actor: actorOf(from + i, likes),
      stamp: stampOf(from + i),
    }));
    registers.sort((a, b) => (a.actor < b.actor ? -1 : 1));
    const nothing = { tallies: [], visits: [], keys: [], sources: [], shards: [], losses: [], jobs: [] };
    writer.apply({ position: at + 1 + from, nowMs: FIRST_MS, records: registers.length, registers, ...nothing });
  }
  while (writer.tidy(FIRST_MS)) {}
  writer.close();
  // The log knows nothing of all this.
  db.query("UPDATE position SET at = ?").run(at);
  db.close();
}

function stampOf(like: number): number {
  return stampAt(FIRST_MS, true) + 2 * like;
}

function actorOf(like: number, likes: number): string {
  return String((like * STRIDE) % likes).padStart(8, "0");
}
