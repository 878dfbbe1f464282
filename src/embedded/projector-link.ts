import { Thread } from "../lib/threads.ts";
import type { Position } from "../ports/log.ts";
import type { MilestoneRule } from "../ports/milestones.ts";
import type { NodePart } from "../ports/node.ts";
import { ProjectorControl, type ProjectorShare } from "../projector/control.ts";
import type { FilterShare } from "./filters.ts";

/** What main hands to the projector's thread. */
export interface ProjectorData {
  logFolder: string;
  ledgerPath: string;
  filters: FilterShare;
  share: ProjectorShare;
  milestones: readonly MilestoneRule[];
  historyDays: number;
}

/** Main's end of the projector thread. */
export class ProjectorLink {
  readonly control: ProjectorControl;
  readonly #thread: Thread;
  #downSince: Date | null = null;

  constructor(data: Omit<ProjectorData, "share">, head: SharedArrayBuffer, died: (error: unknown) => void) {
    const share = ProjectorControl.allocate(head);
    this.control = new ProjectorControl(share);
    const workerData: ProjectorData = { ...data, share };
    this.#thread = new Thread("embedded/projector-thread.ts", { name: "projector", workerData, died });
  }

  /** Resolves when the ledger has the log up to `position` and the thread has ended. */
  stop(position: Position): Promise<void> {
    return this.#thread.stop(() => this.control.stop(position));
  }

  /** For /readyz. */
  part(): NodePart {
    if (!this.control.failing) {
      this.#downSince = null;
      return { status: "up" };
    }
    this.#downSince ??= new Date();
    return { status: "down", since: this.#downSince.toISOString(), detail: "the ledger cannot be written" };
  }
}
