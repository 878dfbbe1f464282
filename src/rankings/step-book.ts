import { HOUR_S } from "../arithmetic/windows.ts";
import type { Renamed, Steps, StoredFrame } from "../ports/steps.ts";
import { FRAME_BYTES, type VisitChange } from "./changes.ts";
import { Gathered } from "./gathered.ts";
import { Renames } from "./renames.ts";

const PENDING_MAX = 250_000;

/**
 * What goes into the ledger's steps, whether anything is ranked or not. Every change that was told is in the steps or in
 * `#pending`: these are written into the steps once a minute, all of them, and always before steps are read.
 */
export class StepBook {
  readonly #steps: Steps;
  readonly #pending = new Gathered();
  /** Changes were told since the last save, whatever is left of them. */
  #isUnsaved = false;
  #renames = new Renames();
  #newRenames: [subject: string, becomes: string][] = [];

  constructor(steps: Steps) {
    this.#steps = steps;
  }

  /** All that has not been saved is told again. */
  forget(): void {
    this.#pending.clear();
    this.#isUnsaved = false;
    this.#renames = new Renames();
    this.#newRenames = [];
  }

  renamed(all: readonly Renamed[]): void {
    for (const renamed of all) this.#renames.add(renamed);
  }

  /** Changes were told, if only such as are in no step. */
  told(): void {
    this.#isUnsaved = true;
  }

  add(metric: number, at: number, bytes: Buffer, start: number, end: number, amount: number): void {
    this.#pending.add(metric, at, bytes, start, end, amount);
  }

  become(subject: Buffer, other: Buffer): void {
    this.#pending.become(subject, other);
    this.#newRenames.push([subject.toString(), other.toString()]);
  }

  get isFull(): boolean {
    return this.#pending.size > PENDING_MAX;
  }

  async save(): Promise<void> {
    if (!this.#isUnsaved) return;
    const frames = [...this.#pending.frames(FRAME_BYTES)];
    this.renamed(await this.#steps.save(frames, this.#newRenames));
    this.#newRenames = [];
    this.#pending.clear();
    this.#isUnsaved = false;
  }

  /** A frame with the names that its subjects have now. */
  readFrame(frame: StoredFrame, visit: VisitChange): void {
    this.#renames.read(frame, visit);
  }

  /** All of the steps that begin in this time. */
  async read(from: number, to: number, visit: VisitChange): Promise<void> {
    await this.save();
    for (const frame of await this.#steps.read(from, to)) this.readFrame(frame, visit);
  }

  /** One hour's minutes before `before` become the hour; false: there are none. */
  async mergeHour(before: number): Promise<boolean> {
    const hour = await this.#steps.oldHour(before);
    if (hour === null) return false;
    const gathered = new Gathered();
    const merged: Buffer[] = [];
    const write = () => {
      for (const { frame } of gathered.frames(FRAME_BYTES)) merged.push(frame);
      gathered.clear();
    };
    for (const frame of await this.#steps.read(hour, hour + HOUR_S)) {
      this.readFrame(frame, ({ metric }, bytes, start, end, amount) => {
        gathered.add(metric, hour, bytes, start, end, amount);
      });
      if (gathered.size > 4 * PENDING_MAX) write();
    }
    write();
    await this.#steps.replaceHour(hour, merged);
    return true;
  }
}
