import { MessageChannel, type MessagePort } from "node:worker_threads";
import { Questions } from "../lib/questions.ts";
import { Thread } from "../lib/threads.ts";
import type { Position } from "../ports/log.ts";
import type { Agreed } from "./agreed.ts";
import type { LogData } from "./log-data.ts";
import type { LogCommand, LogMessage, StoreName, StoreState } from "./messages.ts";

type NoteReply = Extract<LogMessage, { id: number }>;

interface LogEvents {
  disk(trouble: string | null): void;
  store(name: StoreName, state: StoreState): void;
  /** What an earlier run had left in the outbox is in Redis. */
  caughtUp(): void;
  /** The thread ended unasked. What is on the disk is not known now: the process must end too. */
  died(error: unknown): void;
}

/** Main's end of the log thread. */
export class LogLink {
  readonly #thread: Thread;
  readonly #commands: MessagePort;
  readonly #notes = new Questions<NoteReply>();

  private constructor(data: Omit<LogData, "commands">, events: LogEvents, ready: () => void) {
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    const workerData: LogData = { ...data, commands: port2 };
    const parts = { name: "log thread", workerData, transferList: [port2], died: events.died };
    this.#thread = new Thread("cluster/log-thread.ts", parts);
    this.#thread.worker.on("message", (message: LogMessage) => this.#take(message, events, ready));
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
  async append(frame: Uint8Array): Promise<Position> {
    const reply = await this.#notes.ask((id) => this.#command({ kind: "note", id, frame }));
    if (reply.kind === "refused") throw new Error(reply.message);
    return reply.end;
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

  /** Redis is to keep a copy of it. */
  agreed(agreed: Agreed): void {
    this.#command({ kind: "agreed", agreed });
  }

  async stop(): Promise<void> {
    await this.#thread.stop(() => this.#command({ kind: "stop" }));
    this.#commands.close();
  }

  #take(message: LogMessage, events: LogEvents, ready: () => void): void {
    switch (message.kind) {
      case "ready":
        ready();
        break;
      case "noted":
      case "refused":
        this.#notes.answer(message.id, message);
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
        this.#thread.stopped();
    }
  }

  #command(command: LogCommand, transfer: MessagePort[] = []): void {
    this.#commands.postMessage(command, transfer);
  }
}
