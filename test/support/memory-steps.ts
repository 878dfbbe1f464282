import { hourOf } from "../../src/arithmetic/windows.ts";
import type { Beginning, Renamed, StepFrame, Steps, StoredFrame } from "../../src/ports/steps.ts";
import { ChangeWriter } from "../../src/rankings/changes.ts";
import type { HistoryRow, KeptSteps } from "../../src/rankings/check.ts";

/** A ledger's changes and counts in memory, as one that never fails. */
export class MemorySteps implements Steps {
  readonly counts = new Map<string, number>();
  history: HistoryRow[] = [];
  #changes: { position: number; frame: Buffer }[] = [];
  #frames: (StoredFrame & { at: number; isHour: boolean })[] = [];
  #renamed: Renamed[] = [];
  #position = 0;
  #told = 0;
  #id = 0;

  /** A batch of the projector. */
  commit(changes: readonly { metric: number; at: number; subject: string; amount: number }[]): void {
    const writer = new ChangeWriter();
    for (const { metric, at, subject, amount } of changes) {
      writer.add(metric, at, subject, amount);
      const name = `${metric} ${subject}`;
      this.counts.set(name, (this.counts.get(name) ?? 0) + amount);
      this.history.push({ metric, subject, at: hourOf(at), amount });
    }
    for (const frame of writer.finish()) this.#changes.push({ position: ++this.#position, frame });
  }

  become(subject: string, other: string): void {
    const writer = new ChangeWriter();
    writer.becomes(subject, other);
    this.history = this.history
      .map((row) => (row.subject === subject ? { ...row, subject: other } : row))
      .filter((row) => row.subject !== "");
    for (const [name, count] of [...this.counts]) {
      const metric = name.slice(0, name.indexOf(" "));
      if (name.slice(metric.length + 1) !== subject) continue;
      this.counts.delete(name);
      if (other !== "") this.counts.set(`${metric} ${other}`, (this.counts.get(`${metric} ${other}`) ?? 0) + count);
    }
    for (const frame of writer.finish()) this.#changes.push({ position: ++this.#position, frame });
  }

  /** What `tally verify` looks at. */
  get kept(): KeptSteps {
    return {
      renamed: () => this.#renamed,
      changes: (visit) => {
        for (const { position, frame } of this.#changes) visit({ id: position, frame });
      },
      steps: (from, visit) => {
        for (const frame of this.#frames) if (frame.at >= from) visit(frame);
      },
      history: (from, visit) => {
        for (const row of this.history) if (row.at === 0 || row.at >= from) visit(row);
      },
    };
  }

  /** How many frames it has. */
  get size(): number {
    return this.#frames.length;
  }

  begin(from: number, beginning: Beginning): void {
    beginning.renamed(this.#renamed);
    this.#frames.filter(({ at }) => at >= from).every((frame) => beginning.step(frame, frame.isHour));
    for (const { frame } of this.#changes) beginning.change(frame);
    this.#told = this.#position;
    for (const [name, count] of this.counts) {
      const metric = name.slice(0, name.indexOf(" "));
      if (!beginning.count(Number(metric), name.slice(metric.length + 1), count)) break;
    }
  }

  changes(): Buffer[] {
    const frames = this.#changes.filter(({ position }) => position > this.#told);
    this.#told = this.#position;
    return frames.map(({ frame }) => frame);
  }

  save(frames: readonly StepFrame[], renames: readonly [string, string][]): Renamed[] {
    const renamed = renames.map(([subject, becomes]) => ({ subject, becomes, upTo: this.#id }));
    this.#renamed.push(...renamed);
    for (const frame of frames) this.#frames.push({ id: ++this.#id, isHour: false, ...frame });
    this.#changes = this.#changes.filter(({ position }) => position > this.#told);
    return renamed;
  }

  read(from: number, to: number): StoredFrame[] {
    return this.#frames.filter(({ at }) => at >= from && at < to);
  }

  oldHour(before: number): number | null {
    const old = this.#frames.filter(({ at, isHour }) => !isHour && at < before - (before % 3600));
    if (old.length === 0) return null;
    const at = Math.min(...old.map((frame) => frame.at));
    return at - (at % 3600);
  }

  replaceHour(hour: number, frames: readonly Buffer[]): void {
    this.#frames = this.#frames.filter(({ at }) => at < hour || at >= hour + 3600);
    for (const frame of frames) this.#frames.push({ id: ++this.#id, at: hour, isHour: true, frame });
  }

  forget(before: number): boolean {
    const size = this.#frames.length;
    this.#frames = this.#frames.filter(({ at }) => at >= before);
    return this.#frames.length < size;
  }

  close(): void {}
}
