import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./bench.ts";

/** Bodies of requests that oha sends in turn; many, so that no page is the one before. */
const BODIES = 1_000;
/** Coprime to the number of subjects: a page's subjects lie far apart, and every subject comes. */
const STRIDE = 7_919;

/** A file of bodies for `POST /v1/query`: pages of so many subjects, each for one of the actors. Its path. */
export function pageBodies(
  bench: Bench,
  of: { subjects: number; digits: number; actors: number; each: number },
): string {
  const padded = (value: number, digits: number) => String(value).padStart(digits, "0");
  const lines = Array.from({ length: BODIES }, (_, page) => {
    const ids = Array.from({ length: of.each }, (_, i) => ((page * of.each + i) * STRIDE) % of.subjects);
    const subjects = ids.map((id) => `article/${padded(id, of.digits)}`);
    return JSON.stringify({ subjects, actor: padded(page % of.actors, 6) });
  });
  const path = join(bench.scratch.directory(), "bodies");
  writeFileSync(path, lines.join("\n"));
  return path;
}
