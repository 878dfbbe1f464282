import type { Bench } from "../bench.ts";
import { atMost } from "../finding.ts";
import { cpuSecondsOf } from "../process.ts";
import type { Row } from "../row.ts";
import type { Server } from "../server.ts";

const STREAMS = { full: 2_000, quick: 200 };
const SUBJECTS_EACH = 20;
const CHANGES_PER_SECOND = { full: 5_000, quick: 500 };
/** Changes are sent so often, as lines of one request: what is measured is telling them. */
const SEND_EVERY_MS = 50;
const OPEN_AT_ONCE = 100;
/** What is not seen by then is missing. */
const LAST_MS_MAX = 3_000;
const COUNT = /"subject":"bench\/(\d+)","metric":"views","count":(\d+)/g;

/** Readers of streams, and when each change of a count was sent. */
class Readers {
  readonly sockets: { end(): void }[] = [];
  readonly latenciesMs: number[] = [];
  events = 0;
  /** By subject: changes that its reader was not told of yet. */
  readonly #waiting: { count: number; sentMs: number }[][];
  readonly #counts: Uint32Array;

  constructor(subjects: number) {
    this.#waiting = Array.from({ length: subjects }, () => []);
    this.#counts = new Uint32Array(subjects);
  }

  get missing(): number {
    return this.#waiting.reduce((sum, changes) => sum + changes.length, 0);
  }

  async open(url: URL, first: number): Promise<void> {
    const subjects = Array.from({ length: SUBJECTS_EACH }, (_, i) => `subject=bench/${first + i}`);
    const head = `GET /v1/stream?${subjects.join("&")}&metric=views HTTP/1.1\r\nhost: ${url.host}\r\n\r\n`;
    let rest = "";
    const data = (_: unknown, bytes: Buffer) => {
      const text = rest + bytes.toString("latin1");
      const end = text.lastIndexOf("\n") + 1;
      rest = text.slice(end);
      this.#take(text.slice(0, end));
    };
    const open = (socket: { write(text: string): unknown }) => void socket.write(head);
    this.sockets.push(await Bun.connect({ hostname: url.hostname, port: Number(url.port), socket: { open, data } }));
  }

  /** Adds one to a subject; the line of it. */
  change(subject: number): string {
    const count = (this.#counts[subject] ?? 0) + 1;
    this.#counts[subject] = count;
    this.#waiting[subject]?.push({ count, sentMs: performance.now() });
    return `views bench/${subject}`;
  }

  #take(text: string): void {
    const nowMs = performance.now();
    for (const [, subject, count] of text.matchAll(COUNT)) {
      this.events++;
      const waiting = this.#waiting[Number(subject)] ?? [];
      while (waiting[0] && waiting[0].count <= Number(count)) {
        this.latenciesMs.push(nowMs - waiting[0].sentMs);
        waiting.shift();
      }
    }
  }
}

/** Many streams, each of subjects of its own, and counts that change: how late each change is told, and what that costs. */
export const streams: Row = {
  name: "streams",
  async measure(bench) {
    const connections = bench.size(STREAMS.full, STREAMS);
    const perSecond = bench.size(CHANGES_PER_SECOND.full, CHANGES_PER_SECOND);
    const server = await bench.startTally(bench.scratch.directory());
    const readers = new Readers(connections * SUBJECTS_EACH);
    const url = new URL(server.url);
    for (let i = 0; i < connections; i += OPEN_AT_ONCE) {
      const some = Array.from({ length: Math.min(OPEN_AT_ONCE, connections - i) }, (_, j) => i + j);
      await Promise.all(some.map((at) => readers.open(url, at * SUBJECTS_EACH)));
    }
    while (readers.events < connections * SUBJECTS_EACH) await Bun.sleep(SEND_EVERY_MS);
    const idleCores = await coresWhile(server, () => Bun.sleep(bench.options.warmupSeconds * 1000));
    await load(bench, server, readers, { perSecond, seconds: bench.options.warmupSeconds });
    readers.latenciesMs.length = 0;
    const changing = () => load(bench, server, readers, { perSecond, seconds: bench.options.seconds });
    const cores = await coresWhile(server, changing);
    for (const until = performance.now() + LAST_MS_MAX; readers.missing > 0 && performance.now() < until; )
      await Bun.sleep(SEND_EVERY_MS);
    for (const socket of readers.sockets) socket.end();
    const { missing, events } = readers;
    await server.stop();
    const sorted = Float64Array.from(readers.latenciesMs).sort();
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    return [
      {
        what: `${connections} streams × ${SUBJECTS_EACH} subjects, ${perSecond} changes a second`,
        goals: [
          atMost("latest change seen after", 300, "ms", at(1)),
          atMost("changes never seen", 0, "", missing),
          atMost("cores", 1, "", cores),
        ],
        facts: { changes: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), cores, idleCores, events },
      },
    ];
  },
};

async function coresWhile(server: Server, work: () => Promise<unknown>): Promise<number> {
  const [seconds, beganMs] = [cpuSecondsOf(server.pid), performance.now()];
  await work();
  return ((cpuSecondsOf(server.pid) - seconds) / (performance.now() - beganMs)) * 1000;
}

async function load(
  bench: Bench,
  server: Server,
  readers: Readers,
  { perSecond, seconds }: { perSecond: number; seconds: number },
): Promise<void> {
  const subjects = bench.size(STREAMS.full, STREAMS) * SUBJECTS_EACH;
  const headers = { "content-type": "text/plain" };
  const beganMs = performance.now();
  for (let sent = 0; sent < perSecond * seconds; ) {
    const due = Math.min(perSecond * seconds, Math.floor(((performance.now() - beganMs) / 1000) * perSecond));
    const lines = Array.from({ length: due - sent }, () => readers.change(Math.floor(Math.random() * subjects)));
    sent = due;
    if (lines.length > 0) {
      const answer = await fetch(`${server.url}/v1/events`, { method: "POST", headers, body: lines.join("\n") });
      if (!answer.ok) throw new Error(`/v1/events answers ${answer.status}`);
      await answer.arrayBuffer();
    }
    await Bun.sleep(SEND_EVERY_MS);
  }
}
