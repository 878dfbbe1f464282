import { eventually } from "./eventually.ts";

export interface StreamEvent {
  event: string;
  id: string;
  data: { subject: string; metric: string; count: number };
  /** When it came. */
  atMs: number;
}

/** A reader of one stream: every event and comment as it came. EventSource hides comments and ids, and comes back by itself. */
export class EventReader {
  readonly events: StreamEvent[] = [];
  comments = 0;
  readonly answer: Response;
  /** Resolves when the server, or `close`, has ended it. */
  readonly ended: Promise<void>;
  readonly #abort: AbortController;

  private constructor(answer: Response, abort: AbortController) {
    this.answer = answer;
    this.#abort = abort;
    this.ended = this.#read().catch(() => undefined);
  }

  static async open(url: URL | string, init: RequestInit = {}): Promise<EventReader> {
    const abort = new AbortController();
    const answer = await fetch(url, { ...init, signal: abort.signal });
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    return new EventReader(answer, abort);
  }

  /** GET of these. */
  static follow(server: string, subjects: string[], metrics: string[] = [], headers = {}): Promise<EventReader> {
    const url = new URL("/v1/stream", server);
    for (const subject of subjects) url.searchParams.append("subject", subject);
    for (const metric of metrics) url.searchParams.append("metric", metric);
    return EventReader.open(url, { headers });
  }

  /** The count of one as it was told last, or null. */
  latest(subject: string, metric: string): number | null {
    return this.of(subject, metric).at(-1)?.data.count ?? null;
  }

  of(subject: string, metric: string): StreamEvent[] {
    return this.events.filter(({ data }) => data.subject === subject && data.metric === metric);
  }

  /** Until so many events have come. */
  async until(events: number): Promise<void> {
    await eventually(async () => {
      if (this.events.length < events) throw new Error(`${this.events.length} of ${events} events`);
    });
  }

  /** Until the count is told. */
  async untilCount(subject: string, metric: string, count: number): Promise<void> {
    await eventually(async () => {
      const latest = this.latest(subject, metric);
      if (latest !== count) throw new Error(`${subject} ${metric}: ${latest}, not ${count}`);
    });
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.ended;
  }

  async #read(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const bytes of this.answer.body as ReadableStream<Uint8Array>) {
      const blocks = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
      rest = blocks.pop() as string;
      for (const block of blocks) this.#take(block);
    }
  }

  #take(block: string): void {
    if (block.startsWith(":")) {
      this.comments++;
      return;
    }
    const fields = new Map(
      block.split("\n").map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]),
    );
    if ([...fields.keys()].join() !== "event,id,data") throw new Error(`no event of ours: ${block}`);
    const data = JSON.parse(fields.get("data") as string);
    this.events.push({
      event: fields.get("event") as string,
      id: fields.get("id") as string,
      data,
      atMs: performance.now(),
    });
  }
}
