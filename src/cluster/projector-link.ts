import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { Thread } from "../lib/threads.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import type { ProjectorCommand, ProjectorData, ProjectorMessage, StoreName, StoreState } from "./messages.ts";

export type Progress = Omit<Extract<ProjectorMessage, { kind: "progress" }>, "kind">;

export interface ProjectorEvents {
  store(name: StoreName, state: StoreState): void;
  died(error: unknown): void;
}

/** Main's end of the projector thread. */
export class ProjectorLink {
  readonly #thread: Thread;
  readonly #commands: MessagePort;
  progress: Progress = { records: 0, lag: 0, lagMs: 0, deadLetters: 0, losses: 0 };

  constructor(data: { settings: Settings; partitions: number }, events: ProjectorEvents) {
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    const workerData: ProjectorData = { ...data, commands: port2 };
    const parts = { name: "projector", workerData, transferList: [port2], died: events.died };
    this.#thread = new Thread("cluster/projector-thread.ts", parts);
    this.#thread.worker.on("message", (message: ProjectorMessage) => {
      if (message.kind === "store") events.store(message.name, message.state);
      else if (message.kind === "stopped") this.#thread.stopped();
      else if (message.kind === "progress") this.progress = message;
    });
  }

  readings(): Reading[] {
    const { lag, lagMs, records, deadLetters, losses } = this.progress;
    const gauge = (name: string, help: string, value: number): Reading => ({ name, help, value });
    const counter = (name: string, help: string, value: number): Reading => ({ name, help, value, type: "counter" });
    return [
      gauge("tally_projector_lag_messages", "Messages of the log not yet in the ledger", lag),
      gauge("tally_projector_lag_seconds", "How long the oldest record waits for the ledger", lagMs / 1000),
      counter("tally_projector_records_total", "Records brought into the ledger", records),
      counter("tally_dead_letters_total", "Messages set aside because they cannot be applied", deadLetters),
      counter("tally_projector_losses_total", "Gaps found in the log", losses),
    ];
  }

  async stop(): Promise<void> {
    await this.#thread.stop(() => this.#commands.postMessage({ kind: "stop" } satisfies ProjectorCommand));
    this.#commands.close();
  }
}
