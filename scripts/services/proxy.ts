import { createServer, type Server as Listener, connect as open, type Socket } from "node:net";
import { freePort, HOST } from "./ports.ts";

/**
 * open: passes on what comes, each piece `delayMs` later.
 * silent: takes connections and data and passes nothing on, until it is open again; then everything arrives.
 * mute: what is asked reaches the server, its answers are thrown away. Healing ends such connections (RST).
 * cut: ends all connections (RST) and refuses new ones.
 */
export type Mode = "open" | "silent" | "mute" | "cut";

const LISTEN_TRIES = 5;

/** Stands between a client and a server on a port of its own, so that one of their ways can be broken. */
export class TcpProxy {
  readonly port: number;
  /** The port it leads to. */
  readonly target: number;
  #mode: Mode = "open";
  #delayMs = 0;
  #listener: Listener | null = null;
  readonly #links = new Set<Link>();

  private constructor(port: number, target: number) {
    this.port = port;
    this.target = target;
  }

  static async start(target: number): Promise<TcpProxy> {
    for (let tries = 1; ; tries++) {
      const proxy = new TcpProxy(await freePort(), target);
      try {
        await proxy.#listen();
        return proxy;
      } catch (error) {
        // Somebody was faster, or a server that was just started has inherited the look at the port.
        if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || tries === LISTEN_TRIES) throw error;
      }
    }
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** `host:port`. */
  get address(): string {
    return `${HOST}:${this.port}`;
  }

  /** The same URL by way of this proxy. */
  via(url: string): string {
    const through = new URL(url);
    through.host = this.address;
    return url.endsWith("/") ? through.href : through.href.replace(/\/$/, "");
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#links.size;
  }

  async cut(): Promise<void> {
    this.#mode = "cut";
    const listener = this.#listener;
    this.#listener = null;
    const closed = listener ? new Promise((resolve) => listener.close(resolve)) : null;
    this.reset();
    await closed;
  }

  /** Ends the connections there are (RST); new ones get through. */
  reset(): void {
    for (const link of this.#links) link.reset();
  }

  async hang(): Promise<void> {
    await this.#become("silent");
  }

  async mute(): Promise<void> {
    await this.#become("mute");
  }

  /** Each piece of data takes this much longer, in each direction. */
  async delay(ms: number): Promise<void> {
    this.#delayMs = ms;
    await this.#become("open");
  }

  /** As at the start: everything gets through, at once. */
  async heal(): Promise<void> {
    this.#delayMs = 0;
    await this.#become("open");
  }

  async close(): Promise<void> {
    await this.cut();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #become(mode: Mode): Promise<void> {
    this.#mode = mode;
    if (!this.#listener) await this.#listen();
    for (const link of this.#links) link.proceed();
  }

  async #listen(): Promise<void> {
    const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
    await new Promise<void>((resolve, reject) => {
      listener.once("error", reject);
      listener.listen({ host: HOST, port: this.port }, resolve);
    });
    this.#listener = listener;
  }

  #accept(client: Socket): void {
    const link = new Link(client, this.target, {
      mode: () => this.#mode,
      delayMs: () => this.#delayMs,
      ended: () => this.#links.delete(link),
    });
    this.#links.add(link);
    link.proceed();
  }
}

interface Conditions {
  mode(): Mode;
  delayMs(): number;
  ended(): void;
}

/** One client's connection and the one to the server that belongs to it. */
class Link {
  readonly #client: Socket;
  readonly #target: number;
  readonly #conditions: Conditions;
  #server: Socket | null = null;
  #ways: Way[] = [];
  #hasLostAnswers = false;
  #isOver = false;

  constructor(client: Socket, target: number, conditions: Conditions) {
    this.#client = client;
    this.#target = target;
    this.#conditions = conditions;
    client.pause();
    client.on("error", () => this.reset());
    client.on("close", () => this.reset());
  }

  /** Goes on as the proxy's mode now says. */
  proceed(): void {
    const mode = this.#conditions.mode();
    if (this.#isOver || mode === "silent") return;
    if (mode === "open" && this.#hasLostAnswers) {
      this.reset();
      return;
    }
    if (!this.#server) this.#connect();
    for (const way of this.#ways) way.flush();
  }

  reset(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const way of this.#ways) way.end();
    this.#client.resetAndDestroy();
    this.#server?.resetAndDestroy();
    this.#conditions.ended();
  }

  #connect(): void {
    const server = open({ host: HOST, port: this.#target, allowHalfOpen: true, noDelay: true });
    this.#server = server;
    server.on("error", () => this.reset());
    server.on("close", () => this.reset());
    const { mode, delayMs } = this.#conditions;
    const isHeld = () => mode() === "silent";
    // In both directions: the answer to a question asked while mute may still be on its way when the proxy is healed.
    const onData = () => {
      if (mode() === "mute") this.#hasLostAnswers = true;
    };
    const common = { delayMs, isHeld, onData };
    const toServer = new Way({ ...common, from: this.#client, to: server, isLost: () => false });
    const toClient = new Way({ ...common, from: server, to: this.#client, isLost: () => this.#hasLostAnswers });
    this.#ways = [toServer, toClient];
  }
}

interface WayOptions {
  from: Socket;
  to: Socket;
  delayMs(): number;
  /** Before a piece leaves or is lost. */
  onData(): void;
  isHeld(): boolean;
  isLost(): boolean;
}

/** Above this much on its way the sender waits, as with a full window. */
const PENDING_BYTES_MAX = 16 * 1024 * 1024;

/** One direction. Data keep their order: a piece leaves when it is due and all before it have left. */
class Way {
  readonly #options: WayOptions;
  readonly #pending: { data: Buffer | null; dueAt: number }[] = [];
  #pendingBytes = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: WayOptions) {
    this.#options = options;
    options.from.on("data", (data: Buffer) => this.#take(data));
    options.from.on("end", () => this.#take(null));
    options.to.on("drain", () => this.flush());
    options.from.resume();
  }

  #take(data: Buffer | null): void {
    this.#pending.push({ data, dueAt: performance.now() + this.#options.delayMs() });
    this.#pendingBytes += data?.length ?? 0;
    if (this.#pendingBytes > PENDING_BYTES_MAX) this.#options.from.pause();
    this.flush();
  }

  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const { from, to, isHeld, isLost, onData } = this.#options;
    while (this.#pending[0] && !isHeld() && !to.writableNeedDrain) {
      const { data, dueAt } = this.#pending[0];
      const waitMs = dueAt - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.flush(), Math.ceil(waitMs));
        return;
      }
      this.#pending.shift();
      this.#pendingBytes -= data?.length ?? 0;
      onData();
      if (isLost()) continue;
      if (data) to.write(data);
      else to.end();
    }
    if (this.#pendingBytes <= PENDING_BYTES_MAX) from.resume();
  }

  end(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#pending.length = 0;
  }
}
