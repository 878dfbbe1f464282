import { expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { readFrame, type TallyRecord } from "../records.ts";
import type { ImportEvent } from "./event.ts";
import { type PackedFrame, Packer } from "./packer.ts";

const PARTITIONS = 4;
const NOTHING = new Array(256).fill(0);

function tallies({ bytes }: PackedFrame): TallyRecord[] {
  return readFrame(Buffer.from(bytes)).records as TallyRecord[];
}

/** Hours that rise and fall, and come to 0 or more. */
function line(subject: string, amounts: number[]): ImportEvent {
  const metric = { id: 1, name: "views", kind: "tally" } as const;
  const steps = amounts.map((amount, hour): [number, number] => [3600 * (300_000 + hour), amount]);
  return { line: 1, metric, subject, steps: steps.filter(([, amount]) => amount !== 0), actor: "", stamp: 0 };
}

function packed(lines: ImportEvent[], last: readonly number[] = NOTHING): PackedFrame[] {
  const packer = new Packer({ source: "import", partitions: PARTITIONS, last });
  const frames: PackedFrame[] = [];
  for (const each of lines) packer.add(each, (frame) => frames.push(frame));
  return [...frames, ...packer.rest()];
}

test("no frame takes more from a count than it adds, and together they are the line", () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e9);
  const dice = random(seed);
  const lines = Array.from({ length: 12 }, (_, i) => {
    const amounts = Array.from({ length: dice.below(4_000) }, () => dice.below(41) - 20);
    // What is missing comes in one hour, at the end, so that all falls are before it.
    const sum = amounts.reduce((all, amount) => all + amount, 0);
    return line(`article/${i}`, [...amounts, Math.max(0, -sum) + dice.below(5)]);
  });
  const frames = packed(lines);
  expect(frames.length).toBeGreaterThan(PARTITIONS);
  for (const frame of frames) {
    const change = new Map<string, number>();
    for (const { subject, amount } of tallies(frame)) change.set(subject, (change.get(subject) ?? 0) + amount);
    for (const [subject, by] of change) expect(by, `${subject}, SEED=${seed}`).toBeGreaterThanOrEqual(0);
  }
  for (const { subject, steps } of lines) {
    const hours = new Map<number, number>();
    for (const record of frames.flatMap(tallies).filter((record) => record.subject === subject))
      hours.set(record.atMs / 1000, (hours.get(record.atMs / 1000) ?? 0) + record.amount);
    expect([...hours].filter(([, amount]) => amount !== 0).sort(([a], [b]) => a - b)).toEqual([...steps]);
  }
});

test("what was taken before is left out, wherever it broke off", () => {
  const lines = [line("article/1", [5, -3, 4, -6, 2]), line("article/2", [7])];
  const all = packed(lines).flatMap(tallies);
  for (let taken = 0; taken <= all.length; taken++) {
    const last = [...NOTHING];
    for (const { shard, n } of all.slice(0, taken)) last[shard] = n;
    expect(packed(lines, last).flatMap(tallies)).toEqual(all.slice(taken));
  }
});
