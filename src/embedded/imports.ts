import { unavailable } from "../errors.ts";
import { IMPORT_AHEAD_BYTES, IMPORT_WAIT_MS_MAX, SETTLE_MS_MAX } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { ImportTarget } from "../ports/archive.ts";
import type { ProjectorControl } from "../projector/control.ts";
import type { WriterLink } from "./writer-link.ts";

const POLL_MS = 5;

interface ImportParts {
  writer: WriterLink;
  control: ProjectorControl;
  metrics: () => readonly Metric[];
  /** Asks for room in the counter table. */
  press: () => void;
  settle: (timeoutMs: number) => Promise<boolean>;
}

/** Main's part of an import: hands frames to the log's writer, and keeps them from running far ahead of the ledger. */
export class Imports implements ImportTarget {
  readonly partitions = 1;
  readonly #parts: ImportParts;

  constructor(parts: ImportParts) {
    this.#parts = parts;
  }

  get metrics(): readonly Metric[] {
    return this.#parts.metrics();
  }

  last(source: string): Promise<number[]> {
    return this.#parts.writer.lastOf(source);
  }

  async append(frame: Uint8Array): Promise<void> {
    const { control, writer, press } = this.#parts;
    const deadline = performance.now() + IMPORT_WAIT_MS_MAX;
    while (control.head - control.applied > IMPORT_AHEAD_BYTES && performance.now() < deadline) {
      await control.untilApplied(control.applied + 1, IMPORT_WAIT_MS_MAX);
    }
    for (;;) {
      const taken = await writer.appendNumbered(frame);
      if (taken.status === "taken") return;
      if (taken.status === "wrong") throw new Error(taken.why);
      if (taken.status === "refused") throw unavailable(`the log cannot be written: ${taken.why}`);
      if (performance.now() > deadline)
        throw unavailable("neither counters (--counters-max) nor acts on their way to the ledger make room");
      press();
      control.urge();
      await Bun.sleep(POLL_MS);
    }
  }

  /** What reads show is right before; this is for those who export next. */
  async finish(): Promise<void> {
    await this.#parts.settle(SETTLE_MS_MAX);
  }

  async close(): Promise<void> {}
}
