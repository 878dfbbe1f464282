import { SHARDS } from "../arithmetic/shard.ts";
import { isTooFarAhead, type Stamp, stampAt } from "../arithmetic/stamp.ts";
import { unavailable } from "../errors.ts";
import {
  type Bulk,
  claimName,
  type HotAdds,
  NO_METRIC,
  type NumberedEvent,
  type UploadClaim,
  type UploadSource,
} from "../ports/bulk.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { RegisterName } from "../ports/hot-store.ts";
import type { Acts } from "./acts.ts";
import { isAway } from "./away.ts";
import type { SharedLedger } from "./ledger.ts";
import type { LogClient } from "./log-client.ts";
import type { BulkLogged, StampedEvent } from "./messages.ts";

/** How long the ledger's numbers of a source are believed. They may be too low, which costs a repeat, never too high. */
const KNOWN_MS = 60_000;
const KNOWN_MAX = 256;

interface ClusterBulkParts {
  adds: HotAdds;
  /** Adds without asking anybody. */
  add(metric: number, subject: string, by: number): void | Promise<void>;
  /** Whether Redis is there, for all that is known. */
  isShown(): boolean;
  acts: Acts;
  ledger: SharedLedger;
  log: LogClient;
  /** The counter shows more than this node has seen: it must be asked for anew. */
  expire(metric: number, subject: string): void;
}

/**
 * Numbered events in a cluster.
 *
 *     what the ledger has is left out → log → put → answer
 *
 * Whoever sends the same source at the same time sends the same blocks under the same numbers: in the log the first one
 * counts (arithmetic/source.ts), and in Redis the first put of a group. What the ledger does not have yet is logged again
 * rather than believed to be on its way: another node may have it in its spool only.
 *
 * Acts on relations must not take effect again either while the ledger has not decided them: somebody may have acted since.
 * So they carry the same stamps whoever sends them and whenever, those of the moment the key was first taken, in the order
 * of their numbers, and a register keeps the newer one. To the others the whole upload happens then.
 */
export class ClusterBulk implements Bulk {
  readonly adds: HotAdds;
  readonly add: (metric: number, subject: string, by: number) => void | Promise<void>;
  readonly #parts: ClusterBulkParts;
  readonly #known = new Map<string, { last: Float64Array; atMs: number }>();

  constructor(parts: ClusterBulkParts) {
    this.#parts = parts;
    this.adds = parts.adds;
    this.add = parts.add;
  }

  get isShown(): boolean {
    return this.#parts.isShown();
  }

  async claim(upload: string, once: OnceKey): Promise<UploadClaim> {
    const name = { metric: NO_METRIC, subject: claimName(upload) };
    const isShown = await this.#parts.acts.claim(name, once);
    let began: Promise<number> | null = null;
    const ask = async () => (await this.#parts.acts.claimedAt(name, once.key)) ?? Date.now();
    return { isShown, began: () => (began ??= ask()) };
  }

  /** What is on its way into the ledger is not among them: claims and sketches know those who come twice. */
  taken(source: string): Promise<Float64Array> {
    this.#known.delete(source);
    return this.#lastOf(source);
  }

  async append({ source, claim }: UploadSource, events: readonly NumberedEvent[]): Promise<boolean> {
    const last = await this.#lastOf(source);
    const fresh = events.filter(({ shard, n }) => n > (last[shard] as number));
    if (fresh.length === 0) return true;
    const isOfThen = fresh.some(({ kind, atMs }) => kind === "relation" && atMs === null);
    const beganMs = isOfThen ? await claim.began() : 0;
    const due = fresh.map((event) => stamped(event, beganMs));
    const logged = await this.#parts.log.appendBulk(source, due);
    const isShown = await this.#show(source, due, logged);
    for (const { kind, metric, subject } of due) if (kind === "tally") this.#parts.expire(metric, subject);
    return logged.isShown && isShown;
  }

  /** Of each register the newest act: what it beats need not be seen. */
  async #show(source: string, events: readonly StampedEvent[], logged: BulkLogged): Promise<boolean> {
    const newest = new Map<string, StampedEvent>();
    for (const event of events) {
      if (event.kind !== "relation") continue;
      const name = `${event.subject}\n${event.actor}`;
      if (event.stamp > (newest.get(name)?.stamp ?? -1)) newest.set(name, event);
    }
    const { acts } = this.#parts;
    const done = await Promise.all(
      Array.from(newest.values(), async ({ shard, metric, subject, actor, n, stamp, atMs }) => {
        const name: RegisterName = { metric, subject, actor };
        const isPut = await acts.show(shard, { ...name, source, n, stamp, hint: null, past: atMs !== null });
        if (!isPut) await acts.leave(shard, logged);
        return isPut;
      }),
    );
    return done.every(Boolean);
  }

  /** What the ledger has decided of the source; nothing where it cannot be asked: it will find out then. */
  async #lastOf(source: string): Promise<Float64Array> {
    const known = this.#known.get(source);
    if (known && Date.now() - known.atMs < KNOWN_MS) return known.last;
    const last = new Float64Array(SHARDS);
    try {
      for (const each of await this.#parts.ledger.lastOf([source])) last[each.shard] = each.last;
    } catch (error) {
      if (!isAway(error)) throw error;
      return last;
    }
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.set(source, { last, atMs: Date.now() });
    return last;
  }
}

/** Acts of one shard and millisecond are told apart by their numbers; a time of its own counts for itself. */
function stamped(event: NumberedEvent, beganMs: number): StampedEvent {
  const { kind, n, active, atMs } = event;
  if (kind !== "relation") return { ...event, stamp: 0 };
  const stamp: Stamp = stampAt(atMs ?? beganMs, active) + (atMs === null ? 2 * n : 0);
  if (isTooFarAhead(stamp, Date.now()))
    throw unavailable("the clock of this machine is behind that of the one that began");
  return { ...event, stamp };
}
