import { createHash } from "node:crypto";
import { SHARDS } from "../../arithmetic/shard.ts";
import { shardOf } from "../../arithmetic/shard-of.ts";
import { EVENT_LINE_BYTES_MAX, UPLOAD_BLOCK_BYTES, UPLOAD_BLOCK_LINES } from "../../limits.ts";
import { type Metric, typeOf } from "../../model.ts";
import { type NumberedEvent, UPLOAD, type UploadClaim } from "../../ports/bulk.ts";
import { type BulkEvent, NotNow, type RawEvent } from "./event.ts";
import { KeyedVisits, type LineVisit } from "./keyed-visits.ts";
import type { LineTaker } from "./line-reader.ts";
import { lineText } from "./line-text.ts";
import type { Scanner } from "./scan.ts";
import { type EventParts, LINE_LITTER, textOf } from "./unkeyed.ts";

const NEWLINE = 0x0a;
/** Behind the last line of a body: none ends like it, so a body that goes on is another one. */
const END_OF_BODY = "end";
const NONE = { actor: "", active: false, by: 0 };

/** What of one metric is numbered together: all its lines are taken or none is, whenever they are sent. */
interface Stream {
  readonly source: string;
  readonly metric: Metric;
  /** By shard: how many events the lines so far hold. */
  readonly numbers: Float64Array;
  /** Of the block that is being read. */
  events: NumberedEvent[];
  /** Those of them that rules or sketches have a say in. */
  visits: LineVisit[];
}

/** A block that is whole. */
interface Block {
  streams: { stream: Stream; events: NumberedEvent[]; visits: LineVisit[] }[];
  accepted: number;
  claimed: Promise<UploadClaim>;
}

/**
 * The lines of a body with an Idempotency-Key: each counts once, however often the body is sent.
 *
 * Every event has a number in its stream and shard, and the log takes each number once (arithmetic/source.ts). So a number
 * must mean the same line whenever the body comes, and depends on nothing but the lines in front of it:
 *
 * - A line that is wrong in itself (no JSON, a bad id) has none, and will have none.
 * - Whether a metric is known, of which kind it is and what the caller may do with it can be another matter the next time,
 *   but it is the same for all lines of one metric (apart for those with an `at`). So each metric has a stream of its own:
 *   refused, none of its lines has a number; accepted by a later repeat, they all have, and the other streams never notice.
 *   What is configured is looked at once, when the body begins.
 * - What else a setting, a rule or the time decides of a single line leaves the number to an event that counts nothing.
 *
 * Numbers go to the log block by block, cut by lines and bytes alone, so two nodes that have the same body at once send the
 * same blocks. A block that is not whole when the connection breaks is not sent: its last line may be half a line.
 *
 * Another body with this key has other lines under these numbers, so each block is claimed before any of it counts, with the
 * digest of the body up to there. The first block is claimed under the key itself, and its digest names the sources; the others
 * under keys made of both, lest they meet a body that had the key before, when its first block was forgotten already.
 *
 *     A: claims 0, claims 1, counts both, breaks off in 2     B, the same up to block 0: claims 0, is refused at 1
 */
export class KeyedEvents implements LineTaker {
  readonly #parts: EventParts;
  readonly #key: string;
  readonly #scanner: Scanner;
  readonly #streams = new Map<string, Stream>();
  readonly #hash = createHash("sha256");
  #text = textOf(new Uint8Array(0));
  /** The first block's, which names the sources. */
  #digest: string | null = null;
  /** The key's own claim, which is the first block's. */
  #claimed: Promise<UploadClaim> | null = null;
  /** The last block's. */
  #claiming: Promise<unknown> = Promise.resolve();
  #visits: KeyedVisits | null = null;
  #line = 0;
  #blocks = 0;
  #blockLines = 0;
  #blockBytes = 0;
  #blockAccepted = 0;
  /** The block before, on its way into the log while this one is read. */
  #appending: Promise<void> = Promise.resolve();

  /** `key`: hash of caller, method, path and the Idempotency-Key. */
  constructor(parts: EventParts, key: string) {
    this.#parts = parts;
    this.#key = key;
    this.#scanner = parts.format.scanner();
  }

  async lines(bytes: Uint8Array, from: number, to: number): Promise<void> {
    this.#scanner.begin(bytes);
    this.#text = textOf(bytes);
    const first = this.#line;
    let hashed = from;
    for (let at = from; at < to; ) {
      const end = bytes.indexOf(NEWLINE, at) + 1;
      if (this.#endsBlock(end - at)) {
        this.#hash.update(bytes.subarray(hashed, at));
        hashed = at;
        await this.#endBlock();
      }
      this.#begin(end - at);
      if (this.#scanner.next(at, to) === at) this.#inFull(bytes, at, end);
      else this.#usual();
      at = end;
    }
    this.#hash.update(bytes.subarray(hashed, to));
    this.#parts.litter(LINE_LITTER * (this.#line - first));
  }

  async tooLong(): Promise<void> {
    if (this.#endsBlock(EVENT_LINE_BYTES_MAX)) await this.#endBlock();
    this.#begin(EVENT_LINE_BYTES_MAX);
    this.#hash.update("\n");
    this.#parts.report.reject(this.#line, "the line is too long");
  }

  /** The body is over, and whole. */
  async end(): Promise<void> {
    this.#hash.update(END_OF_BODY);
    await this.#endBlock();
    await this.#appending;
  }

  /** The body broke off: only what is on its way is waited for. */
  async cut(): Promise<void> {
    await this.#appending.catch(() => undefined);
  }

  #endsBlock(bytes: number): boolean {
    return this.#blockLines === UPLOAD_BLOCK_LINES || this.#blockBytes + bytes > UPLOAD_BLOCK_BYTES;
  }

  #begin(bytes: number): void {
    // An empty body is the same whatever it says it is.
    if (this.#line === 0) this.#hash.update(`${this.#parts.format.name}\n`);
    this.#line++;
    this.#blockLines++;
    this.#blockBytes += bytes;
  }

  /** What the scanner has found. */
  #usual(): void {
    const { metric: id, from, to, by } = this.#scanner;
    const subject = this.#text.latin1Slice(from, to);
    const metric = this.#parts.check.metricOf(id);
    this.#number(metric, subject, { kind: "tally", ...NONE, by, atMs: null });
    this.#blockAccepted++;
  }

  #inFull(bytes: Uint8Array, from: number, to: number): void {
    const { check, format, report } = this.#parts;
    let raw: RawEvent | undefined;
    try {
      const text = lineText(bytes, from, to);
      if (text === "") return;
      raw = format.parse(text);
      const event = check.event(raw);
      if (event.kind === "tally" && check.isPlain(event.metric))
        this.#scanner.learn(event.metric, typeOf(event.subject));
      const isTimed = event.at !== undefined;
      const numbered = this.#number(event.metric, event.subject, asNumbered(event));
      this.#blockAccepted++;
      if (event.kind === "tally" && !check.isPlain(event.metric))
        this.#stream(event.metric, isTimed).visits.push({ event, numbered, line: this.#line });
    } catch (error) {
      report.refuse(this.#line, error);
      if (raw === undefined || !(error instanceof NotNow)) return;
      this.#number(check.metric(raw.metric), raw.subject, { kind: "void", ...NONE, atMs: raw.at ?? null });
    }
  }

  #number(
    metric: Metric,
    subject: string,
    event: Omit<NumberedEvent, "shard" | "n" | "metric" | "subject">,
  ): NumberedEvent {
    const stream = this.#stream(metric, event.atMs !== null);
    const shard = shardOf(subject);
    const n = (stream.numbers[shard] as number) + 1;
    stream.numbers[shard] = n;
    const numbered = { ...event, shard, n, metric: metric.id, subject };
    stream.events.push(numbered);
    return numbered;
  }

  #stream(metric: Metric, isTimed: boolean): Stream {
    const name = `${metric.id}${isTimed ? "t" : ""}`;
    let stream = this.#streams.get(name);
    if (!stream) {
      stream = { source: name, metric, numbers: new Float64Array(SHARDS), events: [], visits: [] };
      this.#streams.set(name, stream);
    }
    return stream;
  }

  async #endBlock(): Promise<void> {
    const claimed = this.#claim(this.#blocks++);
    this.#claimed ??= claimed;
    const streams = [...this.#streams.values()].filter(({ events }) => events.length > 0);
    const block: Block = {
      streams: streams.map((stream) => ({ stream, events: stream.events, visits: stream.visits })),
      accepted: this.#blockAccepted,
      claimed,
    };
    for (const stream of streams) {
      stream.events = [];
      stream.visits = [];
    }
    this.#blockLines = 0;
    this.#blockBytes = 0;
    this.#blockAccepted = 0;
    await this.#appending;
    this.#appending = this.#append(block);
    // Whoever waits for it hears of it; until then it is no unhandled rejection.
    this.#appending.catch(() => undefined);
  }

  /**
   * Visitors are asked about when the key is surely this body's, and the lines are whole: a body that is refused, and a line
   * that never comes, have taken nobody's turn. Before the events are in the log: the other way round a visitor would count
   * twice who is sent again after a crash between the two.
   */
  async #append({ streams, accepted, claimed }: Block): Promise<void> {
    const { counting, stats, report } = this.#parts;
    if (!(await claimed).isShown) report.isLater = true;
    const claim = await (this.#claimed as Promise<UploadClaim>);
    for (const { stream, events, visits } of streams) {
      const source = this.#sourceOf(stream);
      const { fresh, leftOut } = await this.#visited(source, events, visits);
      if (!(await counting.bulk.append({ source, claim }, fresh))) report.isLater = true;
      stats.counted(stream.metric.id, amountOf(fresh));
      for (const { reason, by } of leftOut) stats.leftOut(stream.metric.id, reason, by);
    }
    report.accepted += accepted;
  }

  /** Those events of a block that are not known to be taken, as the rules leave them. */
  async #visited(source: string, events: NumberedEvent[], visits: readonly LineVisit[]) {
    if (visits.length === 0) return { fresh: events, leftOut: [] };
    const taken = await this.#parts.counting.bulk.taken(source);
    const isFresh = ({ shard, n }: NumberedEvent) => n > (taken[shard] as number);
    this.#visits ??= new KeyedVisits(this.#parts, `${this.#key} ${this.#digest}`);
    const leftOut = await this.#visits.make(visits.filter(({ numbered }) => isFresh(numbered)));
    return { fresh: events.filter(isFresh), leftOut };
  }

  /**
   * Takes the block's key, also where nothing of it counts: its lines stand in front of others. 422 where it has named another
   * block. It is on its way while the block before goes into the log, but only when that is claimed: what a body has behind a
   * block that is refused must not be in the way of the one that has the key.
   */
  #claim(place: number): Promise<UploadClaim> {
    const digest = this.#hash.copy().digest("hex");
    this.#digest ??= digest;
    const once = { key: place === 0 ? this.#key : this.#keyOf(place), body: digest.slice(0, 16) };
    const claimed = this.#claiming.then(() => this.#parts.counting.bulk.claim(this.#key, once));
    claimed.catch(() => undefined);
    this.#claiming = claimed;
    return claimed;
  }

  #keyOf(place: number): string {
    return createHash("sha256").update(`${this.#key} ${this.#digest} ${place}`).digest("hex").slice(0, 32);
  }

  /** The digest is part of the name: another body with this key, once the key is free again, is another upload. */
  #sourceOf({ source }: Stream): string {
    const hash = createHash("sha256").update(`${this.#key} ${this.#digest}`).digest("base64url");
    return `${UPLOAD}${hash.slice(0, 22)}.${source}`;
  }
}

function asNumbered(event: BulkEvent): Omit<NumberedEvent, "shard" | "n" | "metric" | "subject"> {
  const atMs = event.at ?? null;
  if (event.kind === "tally") return { kind: "tally", ...NONE, by: event.by, atMs };
  return { kind: "relation", actor: event.actor, active: event.active, by: 0, atMs };
}

function amountOf(events: readonly NumberedEvent[]): number {
  return events.reduce((sum, { kind, by }) => sum + (kind === "tally" ? by : kind === "relation" ? 1 : 0), 0);
}
