import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "../bench.ts";
import type { Load } from "../oha.ts";
import type { Row } from "../row.ts";
import type { Server } from "../server.ts";
import { besidePlain } from "./beside-plain.ts";

const PATH = "/v1/subjects/article/";
const METRICS = "{views: {kind: tally, distinct: true}, likes: relation}";
const ACTORS = 1_000_000;

/** What it costs a tally to know how many different visitors it had, against the same views without. */
export const distinct: Row = {
  name: "distinct",
  async measure(bench) {
    const bodies = actorBodies(bench);
    const loads: [what: string, load: Load, goal: number][] = [
      // oha has one address and one User-Agent.
      ["views of a distinct tally, of visitors who have come", { method: "POST", path: `${PATH}[0-9]{3}/views` }, 0.7],
      [
        "views of a page that a million actors have seen, by them",
        { method: "POST", path: `${PATH}1/views`, bodies },
        0.7,
      ],
      [
        "views of a million pages, nearly all of new visitors: each waits for the disk",
        { method: "POST", path: `${PATH}[0-9]{6}/views`, bodies },
        0.2,
      ],
    ];
    const counted = await bench.startTally(bench.scratch.directory(), ["--metrics", METRICS]);
    const plain = await bench.startTally(bench.scratch.directory());
    await everyoneSees(counted);
    const findings = [];
    for (const [what, load, goal] of loads) {
      findings.push(await besidePlain(bench, { tally: counted, plain, name: "not distinct" }, { what, load, goal }));
    }
    await plain.stop();
    await counted.stop();
    return findings;
  },
};

/** The page of the second load, in one upload. */
async function everyoneSees(server: Server): Promise<void> {
  const line = (i: number) => `{"metric":"views","subject":"article/1","actor":"user-${i}"}\n`;
  const body = Array.from({ length: ACTORS }, (_, i) => line(i)).join("");
  const headers = { "content-type": "application/x-ndjson" };
  const answer = await fetch(new URL("/v1/events", server.url), { method: "POST", headers, body });
  const text = await answer.text();
  if (!text.startsWith(`{"accepted":${ACTORS},`)) throw new Error(`the upload was answered ${text.slice(0, 200)}`);
}

/** A body for each actor. */
function actorBodies(bench: Bench): string {
  const file = join(bench.scratch.directory(), "actors.ndjson");
  writeFileSync(file, Array.from({ length: ACTORS }, (_, i) => `{"actor":"user-${i}"}`).join("\n"));
  return file;
}
