import { parentPort, workerData } from "node:worker_threads";
import { CounterTable, OWING_TOO_MUCH, type TableShare } from "../../src/tallies/table.ts";
import { random } from "../support/random.ts";

export interface NumbersData {
  share: TableShare;
  stop: SharedArrayBuffer;
  thread: number;
  does: "adds" | "moves" | "reads" | "pings";
}

export interface NumbersReport {
  does: NumbersData["does"];
  acts: number;
  refused: number;
  sum: number;
  problems: string[];
}

const data = workerData as NumbersData;
const table = CounterTable.attach(data.share, data.thread);
const stop = new Int32Array(data.stop);
const rng = random(data.thread);
const report: NumbersReport = { does: data.does, acts: 0, refused: 0, sum: 0, problems: [] };
const slot = table.find(1, `article/${data.does === "pings" ? data.thread - 1 : 0}`);
let last = 0;

function act(): number {
  const by = 1_000_000 - rng.below(10);
  switch (data.does) {
    case "adds": {
      const count = table.add(slot, by);
      if (count === OWING_TOO_MUCH) report.refused++;
      else report.sum += by;
      return count;
    }
    case "moves":
      report.sum += by;
      return table.addToBase(slot, by);
    case "reads":
      return table.shown(slot);
    case "pings": {
      report.sum += by;
      const count = table.add(slot, by);
      const patience = performance.now() + 2_000;
      for (let spins = 1; table.owed(slot) !== 0; spins++) {
        if (spins % 10_000 === 0 && performance.now() > patience) {
          report.problems.push("an add was not noticed");
          table.markDirty(slot);
          break;
        }
      }
      return count;
    }
  }
}

while (Atomics.load(stop, 0) === 0) {
  for (let i = 0; i < 100; i++) {
    report.acts++;
    const count = act();
    if (count === OWING_TOO_MUCH) continue;
    const rises = data.does === "reads" ? count >= last : count > last;
    if (!rises && report.problems.length < 5) report.problems.push(`${data.does}: ${last}, then ${count}`);
    last = count;
  }
}
parentPort?.postMessage(report);
