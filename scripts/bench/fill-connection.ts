import type { Socket } from "bun";

/** Where a connection gets its requests from, and whom it tells how they went. */
export interface Work {
  next(): string | undefined;
  done(count: number): void;
  failed(reason: string): void;
}

const STATUS_LINE = "HTTP/1.1 ";
/** The status line up to the end of its number. */
const STATUS_LENGTH = STATUS_LINE.length + 3;
/** After a 503: the server has all it can hold, and trying again is safe. */
const PAUSE_MS = 20;
/** Requests answered are dropped from the list in one go, as shifting each costs more. */
const ANSWERED_KEPT = 1_000;

/** A keep-alive connection with up to `depth` requests under way; answers come in the order of the requests. */
export class FillConnection {
  readonly #work: Work;
  readonly #depth: number;
  #socket: Socket | undefined;
  #sent: string[] = [];
  #answered = 0;
  #refused: string[] = [];
  #paused = false;
  #unwritten = "";
  #unread = "";

  constructor(work: Work, options: { depth: number }) {
    this.#work = work;
    this.#depth = options.depth;
  }

  async open(address: { hostname: string; port: number }): Promise<void> {
    this.#socket = await Bun.connect({
      ...address,
      socket: {
        data: (_, data) => this.#read(data.toString("latin1")),
        drain: () => this.#write(),
        close: () => this.#work.failed("the server closed a connection"),
        error: (_, error) => this.#work.failed(error.message),
      },
    });
    this.#refill();
  }

  end(): void {
    this.#socket?.end();
  }

  #refill(): void {
    for (let free = this.#depth - (this.#sent.length - this.#answered); free > 0 && !this.#paused; free--) {
      const request = this.#refused.pop() ?? this.#work.next();
      if (request === undefined) break;
      this.#sent.push(request);
      this.#unwritten += request;
    }
    this.#write();
  }

  #write(): void {
    if (this.#unwritten === "" || !this.#socket) return;
    // The requests are ASCII: bytes written are characters written. A closed socket says -1; its event follows.
    this.#unwritten = this.#unwritten.slice(Math.max(0, this.#socket.write(this.#unwritten)));
  }

  /** Answers are counted by their status lines; no body of ours contains one. */
  #read(data: string): void {
    const text = this.#unread + data;
    let done = 0;
    let end = 0;
    for (let at = text.indexOf(STATUS_LINE); at >= 0; at = text.indexOf(STATUS_LINE, end)) {
      if (at + STATUS_LENGTH > text.length) break;
      end = at + STATUS_LENGTH;
      if (this.#answer(text.slice(end - 3, end))) done++;
    }
    this.#unread = text.slice(Math.max(end, text.length - STATUS_LENGTH));
    if (this.#answered > ANSWERED_KEPT) {
      this.#sent = this.#sent.slice(this.#answered);
      this.#answered = 0;
    }
    if (done > 0) this.#work.done(done);
    this.#refill();
  }

  /** Whether the oldest request under way has been counted. */
  #answer(status: string): boolean {
    const request = this.#sent[this.#answered++];
    if (request === undefined) this.#work.failed("more answers than requests");
    else if (status.startsWith("2")) return true;
    else if (status === "503") this.#pause(request);
    else this.#work.failed(`${status} for ${request.split("\r\n")[0]}`);
    return false;
  }

  #pause(request: string): void {
    this.#refused.push(request);
    if (this.#paused) return;
    this.#paused = true;
    setTimeout(() => {
      this.#paused = false;
      this.#refill();
    }, PAUSE_MS);
  }
}
