import type { Socket } from "bun";

export interface Answer {
  status: number;
  headers: Map<string, string>;
  body: string;
}

/** No answer came: the request may have been done or not. */
export class NoAnswer extends Error {}

/**
 * One HTTP/1.1 connection, one request at a time. Not fetch, since that repeats a request by itself when a kept-alive
 * connection breaks, and a test that counts must know of every attempt.
 */
export class Connection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | null = null;
  #isClosed = false;

  private constructor(socket: Socket, connection: { self: Connection | null }) {
    this.#socket = socket;
    connection.self = this;
  }

  /** Rejects where nobody listens. */
  static async open(url: string): Promise<Connection> {
    const { hostname, port } = new URL(url);
    const connection: { self: Connection | null } = { self: null };
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        data: (_socket, bytes) => connection.self?.take(bytes),
        close: () => connection.self?.end(),
        error: () => connection.self?.end(),
        end: () => connection.self?.end(),
      },
    });
    return new Connection(socket, connection);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(method: string, path: string, more: { headers?: Record<string, string>; body?: unknown } = {}): Promise<Answer> {
    if (this.#isClosed) return Promise.reject(new NoAnswer("the connection is closed"));
    const body = more.body === undefined ? "" : JSON.stringify(more.body);
    let head = `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n`;
    for (const [name, value] of Object.entries(more.headers ?? {})) head += `${name}: ${value}\r\n`;
    if (body) head += "content-type: application/json\r\n";
    if (body || method === "POST" || method === "PUT") head += `content-length: ${Buffer.byteLength(body)}\r\n`;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(`${head}\r\n${body}`);
    });
  }

  close(): void {
    this.#socket.end();
  }

  private take(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const [first = "", ...lines] = this.#received.toString("latin1", 0, headEnd).split("\r\n");
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const end = headEnd + 4 + Number(headers.get("content-length") ?? 0);
    if (this.#received.length < end) return;
    const body = this.#received.toString("utf8", headEnd + 4, end);
    this.#received = this.#received.subarray(end);
    const waiting = this.#waiting;
    this.#waiting = null;
    // Bun answers for a thread that ends within its handler; every answer of ours has an id.
    if (headers.has("x-request-id")) waiting?.resolve({ status: Number(first.split(" ")[1]), headers, body });
    else waiting?.reject(new NoAnswer("not an answer of this server"));
  }

  private end(): void {
    this.#isClosed = true;
    this.#waiting?.reject(new NoAnswer("the connection was closed"));
    this.#waiting = null;
  }
}
