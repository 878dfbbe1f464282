import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { threadEntry } from "../lib/thread-entry.ts";
import type { Position } from "../ports/log.ts";
import type { LogData } from "./log-data.ts";
import type { LogCommand, LogMessage, StoreName, StoreState } from "./messages.ts";

interface Note {
  resolve(end: Position): void;
  reject(error: Error): void;
}

export interface LogEvents {
  disk(trouble: string | null): void;
  store(name: StoreName, state: StoreState): void;
  /** What an earlier run had left in the outbox is in Redis. */
  caughtUp(): void;
  /** The thread ended unasked. What is on the disk is not known now: the process must end too. */
  died(error: unknown): void;
}

/** Main's end of the log thread. */
export class LogLink {
  readonly #worker: Worker;
  readonly #commands: MessagePort;
  readonly #notes = new Map<number, Note>();
  #lastNote = 0;
  #stopped: (() => void) | null = null;

  private constructor(data: Omit<LogData, "commands">, events: LogEvents, ready: () => void) {
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    const workerData: LogData = { ...data, commands: port2 };
    this.#worker = new Worker(threadEntry("cluster/log-thread.ts"), { workerData, transferList: [port2] });
    this.#worker.on("message", (message: LogMessage) => this.#take(message, events, ready));
    this.#worker.on("error", events.died);
    this.#worker.on("exit", (code) => {
      if (!this.#stopped) events.died(new Error(`the log thread ended with ${code}`));
    });
  }

  /** Resolves when the thread takes acts. */
  static start(data: Omit<LogData, "commands">, events: LogEvents): Promise<LogLink> {
    return new Promise((resolve, reject) => {
      const died = (error: unknown) => {
        reject(error);
        events.died(error);
      };
      const link = new LogLink(data, { ...events, died }, () => resolve(link));
    });
  }

  /** Appends a note; resolves when it is durable, rejects when nothing of it was written. */
  append(frame: Uint8Array): Promise<Position> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastNote;
      this.#notes.set(id, { resolve, reject });
      this.#command({ kind: "note", id, frame });
    });
  }

  /** A request thread's way to the log. */
  join(thread: number): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#command({ kind: "join", thread, port: port1 }, [port1]);
    return port2;
  }

  left(thread: number): void {
    this.#command({ kind: "left", thread });
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#stopped = resolve;
      this.#command({ kind: "stop" });
    });
    this.#commands.close();
  }

  #take(message: LogMessage, events: LogEvents, ready: () => void): void {
    switch (message.kind) {
      case "ready":
        ready();
        break;
      case "noted":
        this.#takeNote(message.id)?.resolve(message.end);
        break;
      case "refused":
        this.#takeNote(message.id)?.reject(new Error(message.message));
        break;
      case "disk":
        events.disk(message.trouble);
        break;
      case "store":
        events.store(message.name, message.state);
        break;
      case "caught-up":
        events.caughtUp();
        break;
      case "stopped":
        this.#stopped?.();
    }
  }

  #command(command: LogCommand, transfer: MessagePort[] = []): void {
    this.#commands.postMessage(command, transfer);
  }

  #takeNote(id: number): Note | undefined {
    const note = this.#notes.get(id);
    this.#notes.delete(id);
    return note;
  }
}
