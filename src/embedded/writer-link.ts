import { MessageChannel, type MessagePort } from "node:worker_threads";
import { unavailable } from "../errors.ts";
import { Questions } from "../lib/questions.ts";
import { Thread } from "../lib/threads.ts";
import type { Position } from "../ports/log.ts";
import { type ActRingShare, allocateActRing } from "./acts.ts";
import type { Taken } from "./numbered.ts";
import type { JobReply, WriterJob } from "./writer-jobs.ts";
import type { WriterCommand, WriterData, WriterMessage } from "./writer-messages.ts";

type Reply = Extract<WriterMessage, { id: number }>;

interface WriterEvents {
  /** The disk refuses what should be written (with its words), or takes it again (null). */
  disk(trouble: string | null): void;
  /** The thread ended unasked. What is on the disk is not known now: the process must end too. */
  died(error: unknown): void;
}

/** Main's end of the writer thread. */
export class WriterLink {
  readonly #thread: Thread;
  readonly #commands: MessagePort;
  readonly #door: Int32Array;
  readonly #asked = new Questions<Reply>();

  private constructor(data: Omit<WriterData, "commands">, events: WriterEvents, ready: () => void) {
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    this.#door = new Int32Array(data.node.door);
    const workerData: WriterData = { ...data, commands: port2 };
    const parts = { name: "log's writer", workerData, transferList: [port2], died: events.died };
    this.#thread = new Thread("embedded/writer-thread.ts", parts);
    this.#thread.worker.on("message", (message: WriterMessage) => {
      switch (message.kind) {
        case "ready":
          ready();
          break;
        case "disk":
          events.disk(message.trouble);
          break;
        case "stopped":
          this.#thread.stopped();
          break;
        default:
          this.#asked.answer(message.id, message);
      }
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
  async append(frame: Uint8Array): Promise<Position> {
    const reply = await this.#ask((id) => ({ kind: "note", id, frame }));
    if (reply.kind === "refused") throw unavailable(`the log cannot be written: ${reply.message}`);
    return expected("noted", reply).end;
  }

  /** What an administrator asks. */
  async ask(job: WriterJob): Promise<JobReply> {
    return expected("job", await this.#ask((id) => ({ kind: "job", id, job }))).reply;
  }

  /** A frame of an import. */
  async appendNumbered(frame: Uint8Array): Promise<Taken> {
    return expected("numbered", await this.#ask((id) => ({ kind: "numbered", id, frame }))).taken;
  }

  /** The last numbers that the log has of an import. */
  async lastOf(source: string): Promise<number[]> {
    return expected("last-of", await this.#ask((id) => ({ kind: "last-of", id, source }))).last;
  }

  #ask(command: (id: number) => WriterCommand): Promise<Reply> {
    return this.#asked.ask((id) => this.#command(command(id)));
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
    await this.#thread.stop(() => this.#command({ kind: "stop" }));
    this.#commands.close();
  }

  #command(command: WriterCommand, transfer: MessagePort[] = []): void {
    this.#commands.postMessage(command, transfer);
    Atomics.add(this.#door, 0, 1);
    Atomics.notify(this.#door, 0);
  }
}

function expected<K extends Reply["kind"]>(kind: K, reply: Reply): Extract<Reply, { kind: K }> {
  if (reply.kind !== kind) throw new Error(`the writer answered ${reply.kind}, not ${kind}`);
  return reply as Extract<Reply, { kind: K }>;
}
