import type { Socket } from "bun";

/** One connection that sends a body in pieces, and can be cut in the middle of it. */
export class TestConnection {
  readonly #socket: Socket;
  readonly #host: string;
  #isChunked = false;
  #drained: (() => void) | null = null;
  #answer = "";
  #onAnswer: (() => void) | null = null;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
  }

  static async open(url: string): Promise<TestConnection> {
    const { hostname, port, host } = new URL(url);
    let connection: TestConnection | undefined;
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        drain: () => connection?.goOn(),
        close: () => connection?.end(),
        error: () => connection?.end(),
        data: (_, data) => connection?.take(data.toString()),
      },
    });
    connection = new TestConnection(socket, host);
    return connection;
  }

  /** `bytes`: how many will follow; null: in chunks. */
  async begin({ key, type, bytes }: { key: string | null; type: string; bytes: number | null }): Promise<void> {
    this.#isChunked = bytes === null;
    const head = ["POST /v1/events HTTP/1.1", `host: ${this.#host}`, `content-type: ${type}`];
    if (key !== null) head.push(`idempotency-key: ${key}`);
    head.push(bytes === null ? "transfer-encoding: chunked" : `content-length: ${bytes}`);
    await this.#write(Buffer.from(`${head.join("\r\n")}\r\n\r\n`));
  }

  /** Resolves when the system has taken it, or the connection has ended. */
  async send(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    if (this.#isChunked) await this.#write(Buffer.from(`${bytes.length.toString(16)}\r\n`));
    await this.#write(bytes);
    if (this.#isChunked) await this.#write(Buffer.from("\r\n"));
  }

  /** The status and the body of the answer, "" where the connection ended before it. */
  async finish(): Promise<string> {
    if (this.#isChunked) await this.#write(Buffer.from("0\r\n\r\n"));
    while (!this.#isEnded && !/\r\n\r\n[\s\S]/.test(this.#answer)) {
      await new Promise<void>((resolve) => {
        this.#onAnswer = resolve;
      });
    }
    this.#socket.end();
    return this.#answer;
  }

  /** Not in order: what the other side has not read may be lost. */
  cut(): void {
    this.#socket.terminate();
  }

  #isEnded = false;

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#isEnded; ) {
      const written = this.#socket.write(bytes.subarray(at));
      if (written < 0) return;
      at += written;
      if (at === bytes.length) return;
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
  }

  take(text: string): void {
    this.#answer += text;
    this.#onAnswer?.();
  }

  goOn(): void {
    this.#drained?.();
  }

  end(): void {
    this.#isEnded = true;
    this.#drained?.();
    this.#onAnswer?.();
  }
}
