import type { Load } from "../oha.ts";
import type { Row } from "../row.ts";
import { besidePlain } from "./beside-plain.ts";

const PATH = "/v1/subjects/article/";
/** oha has one address and one User-Agent: on few subjects nearly all its views are repeats, on many nearly all are new. */
const REPEATS: Load = { method: "POST", path: `${PATH}[0-9]{3}/views` };
const NEW: Load = { method: "POST", path: `${PATH}[0-9]{6}/views` };
const METRICS = "{views: {kind: tally, unique: 1h, bots: drop, allow: [oha], ignore: [10.0.0.0/8]}, likes: relation}";

/** What a tally's rules cost, against the same views without any. */
export const rules: Row = {
  name: "rules",
  async measure(bench) {
    const ruled = await bench.startTally(bench.scratch.directory(), ["--metrics", METRICS]);
    const plain = await bench.startTally(bench.scratch.directory());
    const findings = [];
    for (const [what, load] of [
      ["views that unique, bots and ignore look at, of visitors who have counted", REPEATS],
      ["the same, of new visitors, until a million are known", NEW],
    ] as const) {
      findings.push(await besidePlain(bench, { tally: ruled, plain, name: "no rules" }, { what, load, goal: 0.5 }));
    }
    await plain.stop();
    await ruled.stop();
    return findings;
  },
};
