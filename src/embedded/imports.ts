import { unavailable } from "../errors.ts";
import { IMPORT_AHEAD_BYTES, IMPORT_WAIT_MS_MAX, SETTLE_MS_MAX } from "../limits.ts";
import type { Metric } from "../model.ts";
import type { ImportTarget } from "../ports/archive.ts";
import type { ProjectorControl } from "../projector/control.ts";
import { FrameWriter, type LogRecord, readFrame } from "../records.ts";
import type { WriterLink } from "./writer-link.ts";

const POLL_MS = 5;
/** Then a frame may have more counters than memory may hold (--counters-max): a half of it has fewer, and later ones slowly more. */
const TRIES_WHOLE = 100;
const RECORDS_MORE = 1;
const RECORDS_MAX = 1_000_000;

interface ImportParts {
  writer: WriterLink;
  control: ProjectorControl;
  metrics: () => readonly Metric[];
  types: readonly string[] | null;
  /** Asks for room in the counter table. */
  press: () => void;
  settle: (timeoutMs: number) => Promise<boolean>;
}

/** Main's part of an import: hands frames to the log's writer, and keeps them from running far ahead of the ledger. */
export class Imports implements ImportTarget {
  readonly partitions = 1;
  readonly #parts: ImportParts;
  #recordsMax = RECORDS_MAX;

  constructor(parts: ImportParts) {
    this.#parts = parts;
  }

  get metrics(): readonly Metric[] {
    return this.#parts.metrics();
  }

  get types(): readonly string[] | null {
    return this.#parts.types;
  }

  last(source: string): Promise<number[]> {
    return this.#parts.writer.lastOf(source);
  }

  async append(frame: Uint8Array): Promise<void> {
    const { source, records } = readFrame(Buffer.from(frame));
    for (let from = 0; from < records.length; ) {
      const part = records.slice(from, from + this.#recordsMax);
      const deadline = performance.now() + IMPORT_WAIT_MS_MAX;
      await this.#untilNear(deadline);
      if (await this.#append(part.length === records.length ? frame : frameOf(source, part), deadline)) {
        from += part.length;
        this.#recordsMax += RECORDS_MORE;
      } else this.#recordsMax = Math.max(1, Math.floor(part.length / 2));
    }
  }

  /** False: it may have more counters than memory holds. */
  async #append(frame: Uint8Array, deadline: number): Promise<boolean> {
    const { control, writer, press } = this.#parts;
    for (let tries = 1; ; tries++) {
      const taken = await writer.appendNumbered(frame);
      if (taken.status === "taken") return true;
      if (taken.status === "wrong") throw new Error(taken.why);
      if (taken.status === "refused") throw unavailable(`the log cannot be written: ${taken.why}`);
      if (tries === TRIES_WHOLE && this.#recordsMax > 1) return false;
      if (performance.now() > deadline)
        throw unavailable("neither counters (--counters-max) nor acts on their way to the ledger make room");
      press();
      control.urge();
      await Bun.sleep(POLL_MS);
    }
  }

  async #untilNear(deadline: number): Promise<void> {
    const { control } = this.#parts;
    while (control.head - control.applied > IMPORT_AHEAD_BYTES && performance.now() < deadline) {
      await control.untilApplied(control.applied + 1, IMPORT_WAIT_MS_MAX);
    }
  }

  /** What reads show is right before; this is for those who export next. */
  async finish(): Promise<void> {
    await this.#parts.settle(SETTLE_MS_MAX);
  }

  async close(): Promise<void> {}
}

function frameOf(source: string, records: readonly LogRecord[]): Uint8Array {
  const frame = new FrameWriter();
  frame.begin(source);
  for (const record of records) frame.add(record);
  return frame.finish();
}
