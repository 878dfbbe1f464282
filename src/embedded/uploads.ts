import { SHARDS } from "../arithmetic/shard.ts";
import { UPLOAD_KEPT_MS, UPLOADS_MAX } from "../limits.ts";
import { UPLOAD } from "../ports/bulk.ts";
import type { NumberedSource } from "./numbered.ts";

/**
 * The sources of uploads, in the memory of the writer. A source that nothing was logged of for UPLOAD_KEPT_MS is forgotten; who
 * names it afterwards begins another life, under a name of its own in the log, so that the ledger, which keeps the old one's
 * numbers for longer, takes nothing of it for a repeat.
 */
export class Uploads {
  readonly #uploads = new Map<string, NumberedSource>();

  /** What the ledger has, with everything that is in the log. */
  constructor(stored: Iterable<{ source: string; shard: number; last: number; atMs: number }>) {
    for (const { source, shard, last, atMs } of stored) {
      const end = source.lastIndexOf(LIFE);
      if (!source.startsWith(UPLOAD) || end < 0) continue;
      const given = source.slice(0, end);
      let upload = this.#uploads.get(given);
      // Of several lives the last one counts.
      if (!upload || beginning(upload.name) < beginning(source)) {
        upload = { name: source, last: new Float64Array(SHARDS), end: 0, loggedMs: 0 };
        this.#uploads.set(given, upload);
      }
      if (upload.name !== source) continue;
      upload.last[shard] = last;
      upload.loggedMs = Math.max(upload.loggedMs, atMs);
    }
  }

  /** By shard: the last number of the source's running life. */
  lastOf(source: string, nowMs: number): Float64Array {
    const known = this.#uploads.get(source);
    return known && known.loggedMs + UPLOAD_KEPT_MS > nowMs ? known.last.slice() : new Float64Array(SHARDS);
  }

  /** The source's running life, a new one if there is none; null where there is no room for another. */
  of(source: string, nowMs: number): NumberedSource | null {
    const known = this.#uploads.get(source);
    if (known && known.loggedMs + UPLOAD_KEPT_MS > nowMs) return known;
    this.#uploads.delete(source);
    if (this.#uploads.size >= UPLOADS_MAX) this.#forget(nowMs);
    if (this.#uploads.size >= UPLOADS_MAX) return null;
    const name = `${source}${LIFE}${Math.max(nowMs, known ? beginning(known.name) + 1 : 0).toString(36)}`;
    const upload = { name, last: new Float64Array(SHARDS), end: 0, loggedMs: nowMs };
    this.#uploads.set(source, upload);
    return upload;
  }

  #forget(nowMs: number): void {
    for (const [source, { loggedMs }] of this.#uploads) {
      if (loggedMs + UPLOAD_KEPT_MS <= nowMs) this.#uploads.delete(source);
    }
  }
}

/** Between a source and when this life of it began. */
const LIFE = "~";

function beginning(name: string): number {
  return Number.parseInt(name.slice(name.lastIndexOf(LIFE) + 1), 36);
}
