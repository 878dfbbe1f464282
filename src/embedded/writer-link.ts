import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { threadEntry } from "../lib/thread-entry.ts";
import type { Position } from "../ports/log.ts";
import { type ActRingShare, allocateActRing } from "./acts.ts";
import type { Taken } from "./numbered.ts";
import type { JobReply, WriterJob } from "./writer-jobs.ts";
import type { WriterCommand, WriterData, WriterMessage } from "./writer-messages.ts";

interface Note {
  resolve(end: Position): void;
  reject(error: Error): void;
}

type Reply = Extract<WriterMessage, { kind: "job" | "numbered" | "last-of" }>;

export interface WriterEvents {
  /** The disk refuses what should be written (with its words), or takes it again (null). */
  disk(trouble: string | null): void;
  /** The thread ended unasked. What is on the disk is not known now: the process must end too. */
  died(error: unknown): void;
}

/** Main's end of the writer thread. */
export class WriterLink {
  readonly #worker: Worker;
  readonly #commands: MessagePort;
  readonly #door: Int32Array;
  readonly #notes = new Map<number, Note>();
  #lastNote = 0;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  #stopped: (() => void) | null = null;

  private constructor(data: Omit<WriterData, "commands">, events: WriterEvents, ready: () => void) {
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    this.#door = new Int32Array(data.node.door);
    const workerData: WriterData = { ...data, commands: port2 };
    this.#worker = new Worker(threadEntry("embedded/writer-thread.ts"), { workerData, transferList: [port2] });
    this.#worker.on("message", (message: WriterMessage) => {
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
        case "job":
        case "numbered":
        case "last-of":
          this.#replies.get(message.id)?.(message);
          this.#replies.delete(message.id);
          break;
        case "disk":
          events.disk(message.trouble);
          break;
        case "stopped":
          this.#stopped?.();
      }
    });
    this.#worker.on("error", events.died);
    this.#worker.on("exit", (code) => {
      if (!this.#stopped) events.died(new Error(`the log's writer ended with ${code}`));
    });
  }

  /** Resolves when the thread takes acts. */
  static start(data: Omit<WriterData, "commands">, events: WriterEvents): Promise<WriterLink> {
    return new Promise((resolve, reject) => {
      const link = new WriterLink(
        data,
        {
          disk: events.disk,
          died(error) {
            reject(error);
            events.died(error);
          },
        },
        () => resolve(link),
      );
    });
  }

  /** Appends a frame of main's; resolves when it is durable, rejects when nothing of it was written. */
  append(frame: Uint8Array): Promise<Position> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastNote;
      this.#notes.set(id, { resolve, reject });
      this.#command({ kind: "note", id, frame });
    });
  }

  /** What an administrator asks. */
  async ask(job: WriterJob): Promise<JobReply> {
    return (await this.#asked("job", (id) => ({ kind: "job", id, job }))).reply;
  }

  /** A frame of an import. */
  async appendNumbered(frame: Uint8Array): Promise<Taken> {
    return (await this.#asked("numbered", (id) => ({ kind: "numbered", id, frame }))).taken;
  }

  /** The last numbers that the log has of an import. */
  async lastOf(source: string): Promise<number[]> {
    return (await this.#asked("last-of", (id) => ({ kind: "last-of", id, source }))).last;
  }

  #asked<K extends Reply["kind"]>(
    kind: K,
    command: (id: number) => WriterCommand,
  ): Promise<Extract<Reply, { kind: K }>> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastNote;
      this.#replies.set(id, (reply) => {
        if (reply.kind === kind) resolve(reply as Extract<Reply, { kind: K }>);
        else reject(new Error(`the writer answered ${reply.kind}, not ${kind}`));
      });
      this.#command(command(id));
    });
  }

  /** A request thread's way to the writer. */
  join(thread: number): { ring: ActRingShare; woken: MessagePort } {
    const ring = allocateActRing();
    const { port1, port2 } = new MessageChannel();
    this.#command({ kind: "join", thread, ring, wake: port1 }, [port1]);
    return { ring, woken: port2 };
  }

  left(thread: number): void {
    this.#command({ kind: "left", thread });
  }

  /** Resolves when everything that was sent is durable and the log is closed. */
  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#stopped = resolve;
      this.#command({ kind: "stop" });
    });
    this.#commands.close();
  }

  #command(command: WriterCommand, transfer: MessagePort[] = []): void {
    this.#commands.postMessage(command, transfer);
    Atomics.add(this.#door, 0, 1);
    Atomics.notify(this.#door, 0);
  }

  #takeNote(id: number): Note | undefined {
    const note = this.#notes.get(id);
    this.#notes.delete(id);
    return note;
  }
}
