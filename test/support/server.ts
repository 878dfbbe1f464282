import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";

const ROOT = join(import.meta.dir, "../..");
export const TALLY = process.env.TALLY_BINARY ?? join(ROOT, "dist/tally");
export const TALLY_FAULTS = process.env.TALLY_FAULTS_BINARY ?? join(ROOT, "dist/tally-faults");

/** How long a server may take from its start to "listening", on a machine that does much else. */
const START_MS_MAX = 20_000;

export interface ServerOptions {
  data: string;
  /** What runs: the server, or only the projector. */
  command?: "serve" | "consume";
  /** Further flags of it. */
  args?: string[];
  env?: Record<string, string>;
  /** Stops (or ends a thread) here: `name`, `name:times` or `name:times:exit`. Needs dist/tally-faults, so takes that. */
  fault?: string;
  cwd?: string;
  port?: number;
  /** A command that runs the command behind it, in its own place. */
  via?: string[];
  binary?: string;
}

export interface End {
  status: number | null;
  signal: string | null;
}

const running = new Set<TestServer>();

/** A server of the built executable, in a process of its own. */
export class TestServer {
  readonly #child: Subprocess<"ignore", "pipe", "pipe">;
  /** Its log, line by line, parsed. */
  readonly lines: Record<string, unknown>[] = [];
  stderr = "";
  url = "";
  readonly ended: Promise<End>;
  #end: End | null = null;
  readonly #listening: Promise<string>;

  private constructor(options: ServerOptions) {
    const flags = ["--data", options.data, "--port", String(options.port ?? 0), "--grpc-port", "0"];
    this.#child = Bun.spawn(
      [
        ...(options.via ?? []),
        options.binary ?? (options.fault ? TALLY_FAULTS : TALLY),
        options.command ?? "serve",
        ...flags,
        ...(options.args ?? []),
      ],
      {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
        ...(options.cwd ? { cwd: options.cwd } : {}),
        env: { PATH: process.env.PATH ?? "", ...options.env, ...(options.fault ? { FAULT_POINT: options.fault } : {}) },
      },
    );
    running.add(this);
    const errors = this.#readErrors();
    this.#listening = new Promise((resolve, reject) => {
      const output = this.#readLines(resolve);
      void Promise.all([output, errors, this.#child.exited]).then(() => {
        reject(new Error(`the server ended before it listened: ${JSON.stringify(this.#end)} ${this.stderr}`));
      });
    });
    this.#listening.catch(() => undefined);
    this.ended = Promise.all([this.#child.exited, errors]).then(() => {
      const { exitCode, signalCode } = this.#child;
      const end: End =
        signalCode === null ? { status: exitCode, signal: null } : { status: null, signal: String(signalCode) };
      running.delete(this);
      this.#end = end;
      return end;
    });
  }

  /** What a failed test left. */
  static async killAll(): Promise<void> {
    await Promise.all(Array.from(running, (server) => server.kill()));
  }

  /** Does not wait for anything. */
  static spawn(options: ServerOptions): TestServer {
    return new TestServer(options);
  }

  /** Resolves when it listens. */
  static async start(options: ServerOptions): Promise<TestServer> {
    const server = new TestServer(options);
    await server.listening();
    return server;
  }

  async listening(): Promise<void> {
    const late = Bun.sleep(START_MS_MAX).then(() => {
      throw new Error(`the server does not listen: ${JSON.stringify(this.lines.at(-1))} ${this.stderr}`);
    });
    late.catch(() => undefined);
    this.url = await Promise.race([this.#listening, late]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#end !== null;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async kill(): Promise<End> {
    this.#child.kill("SIGKILL");
    return this.ended;
  }

  /** SIGTERM, and its end. */
  async stop(): Promise<End> {
    this.#child.kill("SIGTERM");
    return this.ended;
  }

  get(path: string): Promise<Response> {
    return fetch(new URL(path, this.url));
  }

  async json<T = Record<string, unknown>>(path: string, status = 200): Promise<T> {
    const answer = await this.get(path);
    const body = await answer.text();
    if (answer.status !== status) throw new Error(`${path} answered ${answer.status}: ${body}`);
    return JSON.parse(body) as T;
  }

  async #readLines(listening: (url: string) => void): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const text of lines) {
        const line = JSON.parse(text) as Record<string, unknown>;
        this.lines.push(line);
        if (line.msg === "listening" || line.message === "listening") listening(line.url as string);
      }
    }
  }

  async #readErrors(): Promise<void> {
    for await (const chunk of this.#child.stderr.pipeThrough(new TextDecoderStream())) this.stderr += chunk;
  }
}

/** A command that ends by itself. */
export async function runTally(
  args: string[],
  options: { env?: Record<string, string>; cwd?: string; binary?: string; via?: string[] } = {},
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = Bun.spawn([...(options.via ?? []), options.binary ?? TALLY, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    ...(options.cwd ? { cwd: options.cwd } : {}),
    env: { PATH: process.env.PATH ?? "", ...options.env },
    timeout: START_MS_MAX,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status: child.exitCode, stdout, stderr };
}

/** A folder that is there during `use` only; kept, and named, where `use` fails. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "tally-"));
  const result = await use(folder).catch(async (error) => {
    await TestServer.killAll();
    console.error(`kept for a look: ${folder}`);
    throw error;
  });
  rmSync(folder, { recursive: true, force: true });
  return result;
}
