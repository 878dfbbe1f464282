import { closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { inTime } from "../../src/lib/deadline.ts";
import { newFolder, removeFolder } from "./folders.ts";
import { find } from "./install.ts";

/** For a start or a stop, on a machine that does much else. */
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;
/** Between two looks whether it answers. */
const LOOK_MS = 20;
/** One look, as a server that is not up yet may take the connection and say nothing. */
const ANSWER_MS_MAX = 2_000;

/** A copy of a server's data, to begin with again. */
export interface Snapshot {
  readonly folder: string;
}

export interface StartOptions {
  /** What it begins with: its own data, those of an earlier moment, or none. */
  data?: "kept" | "empty" | Snapshot;
}

export type State = "stopped" | "starting" | "running" | "paused";

/**
 * A process of a real server, on a port and in a folder that stay the same from one start to the next.
 *
 * stopped ─start→ starting → running ⇄ paused; each of them ─stop, kill→ stopped. Whoever started it and dies takes the
 * process along, even by SIGKILL.
 */
export abstract class Server {
  readonly folder: string;
  readonly name: string;
  readonly port: number;
  #child: Subprocess | null = null;
  #watchdog: Subprocess | null = null;
  #state: State = "stopped";
  #copies = 0;

  protected constructor(name: string, port: number) {
    this.name = name;
    this.port = port;
    this.folder = newFolder(name);
  }

  /** What runs it. */
  protected abstract command(): Promise<string[]>;
  /** Puts into an empty data folder what it needs to start. */
  protected abstract fill(data: string): Promise<void>;
  /** Resolves once it has answered a question of its protocol; rejects or hangs while it cannot. */
  protected abstract answer(): Promise<void>;
  /** After it answers, whatever a user of it needs. */
  protected async ready(): Promise<void> {}

  get state(): State {
    return this.#state;
  }

  get pid(): number {
    if (!this.#child) throw new Error(`${this.name} is stopped`);
    return this.#child.pid;
  }

  get data(): string {
    return join(this.folder, "data");
  }

  /** Everything it has said since it was made. */
  get log(): string {
    const path = join(this.folder, "log");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** Resolves when it answers. */
  async start({ data = "kept" }: StartOptions = {}): Promise<void> {
    await this.launch({ data });
    await this.answers();
  }

  /** Starts the process without waiting for an answer. */
  async launch({ data = "kept" }: StartOptions = {}): Promise<void> {
    if (this.#state !== "stopped") throw new Error(`${this.name} is ${this.#state}`);
    this.#state = "starting";
    try {
      await this.#prepare(data);
      this.#spawn(await this.command());
    } catch (error) {
      this.#state = "stopped";
      throw error;
    }
  }

  /** Resolves when it answers, and rejects with the end of its log if it ends or takes too long. */
  async answers(): Promise<void> {
    const deadline = Date.now() + START_MS_MAX;
    while (!(await this.#hasAnswered(deadline))) await Bun.sleep(LOOK_MS);
    if (this.#state === "starting") this.#state = "running";
    await this.ready();
  }

  async #hasAnswered(deadline: number): Promise<boolean> {
    const child = this.#child;
    let trouble = "ended";
    if (child && child.exitCode === null && child.signalCode === null) {
      try {
        await within(ANSWER_MS_MAX, this.answer());
        return true;
      } catch (error) {
        if (Date.now() < deadline) return false;
        trouble = `does not answer (${error})`;
      }
    }
    await this.kill();
    throw this.#trouble(trouble);
  }

  /** Lets it end by itself. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    if (this.#state === "paused") await this.resume();
    child.kill("SIGTERM");
    try {
      await within(STOP_MS_MAX, child.exited);
    } catch {
      await this.kill();
      throw this.#trouble(`did not end within ${STOP_MS_MAX} ms of SIGTERM`);
    }
    this.#ended();
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    child.kill("SIGKILL");
    await child.exited;
    this.#ended();
  }

  /** Stops and starts it. */
  async restart(options: StartOptions = {}): Promise<void> {
    await this.stop();
    await this.start(options);
  }

  /** SIGSTOP: connections stay, and nothing is answered. Resolves when it stands still. */
  async pause(): Promise<void> {
    process.kill(this.pid, "SIGSTOP");
    this.#state = "paused";
    while (!this.#standsStill()) await Bun.sleep(1);
  }

  async resume(): Promise<void> {
    process.kill(this.pid, "SIGCONT");
    this.#state = "running";
  }

  /** A copy of its data as they are on the disk now. Take it of a stopped server, unless its class says more. */
  async snapshot(): Promise<Snapshot> {
    this.#copies += 1;
    const folder = join(this.folder, `copy-${this.#copies}`);
    cpSync(this.data, folder, { recursive: true });
    return { folder };
  }

  /** Ends it for good and removes its folder. May be called again. */
  async close(): Promise<void> {
    await this.kill();
    removeFolder(this.folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #prepare(data: NonNullable<StartOptions["data"]>): Promise<void> {
    if (data === "kept" && existsSync(this.data)) return;
    rmSync(this.data, { recursive: true, force: true });
    if (typeof data === "object") {
      cpSync(data.folder, this.data, { recursive: true });
    } else {
      mkdirSync(this.data, { recursive: true });
      await this.fill(this.data);
    }
  }

  #spawn(command: string[]): void {
    const log = openSync(join(this.folder, "log"), "a");
    const deathSignal = find("setpriv");
    const child = Bun.spawn(deathSignal ? [deathSignal, "--pdeathsig", "KILL", "--", ...command] : command, {
      cwd: this.folder,
      env: this.environment(),
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    this.#child = child;
    // Where the kernel does not do it: a shell that reads a pipe of ours, which ends with us.
    if (!deathSignal) {
      this.#watchdog = Bun.spawn(["sh", "-c", `trap "" INT TERM HUP; cat >/dev/null; kill -9 ${child.pid}`], {
        stdin: "pipe",
        stdout: "ignore",
        stderr: "ignore",
      });
    }
  }

  /** What the process finds in its environment. */
  protected environment(): Record<string, string> {
    return { PATH: process.env.PATH ?? "", LC_ALL: "C", TZ: "UTC" };
  }

  #ended(): void {
    this.#watchdog?.kill("SIGKILL");
    this.#watchdog = null;
    this.#child = null;
    this.#state = "stopped";
  }

  #standsStill(): boolean {
    const path = `/proc/${this.pid}/stat`;
    if (!existsSync(path)) return true; // no Linux
    return /\) [TtZ] /.test(readFileSync(path, "utf8"));
  }

  #trouble(what: string): Error {
    const tail = this.log.trim().split("\n").slice(-30).join("\n");
    return new Error(`${this.name} on port ${this.port} ${what}:\n${tail}`);
  }
}

/** Rejects when `promise` takes longer. */
function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return inTime(promise, ms, () => new Error(`nothing within ${ms} ms`));
}
