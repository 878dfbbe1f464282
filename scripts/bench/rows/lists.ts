import { atLeast } from "../finding.ts";
import { cursorAt, LISTED, startListed } from "../long-list.ts";
import type { Load } from "../oha.ts";
import type { Row } from "../row.ts";

const LIMIT = 100;
const LIKES = { full: 10_000_000, quick: 100_000 };
/** So many pages before the last, so that it is not always the same. */
const PAGES = 8;

/** The last pages of a list of ten million against its first. */
export const lists: Row = {
  name: "lists",
  async measure(bench) {
    const likes = bench.size(LIKES.full, LIKES);
    const server = await startListed(bench, likes);
    const last = likes / LIMIT;
    const cursors = Array.from({ length: PAGES }, (_, i) => cursorAt(last - i, { likes, limit: LIMIT }));
    const path = `/v1/subjects/${LISTED}/likes\\?limit=${LIMIT}`;
    const first: Load = { method: "GET", path };
    const deep: Load = { method: "GET", path: `${path}&cursor=(${cursors.join("|")})` };
    await bench.warm(server, deep);
    const comparison = await bench.compare({
      tally: () => bench.run(server, deep),
      against: () => bench.run(server, first),
    });
    await server.stop();
    return [
      {
        what: `page ${last.toLocaleString("en")} of a list against page 1`,
        goals: [atLeast("ratio", 0.9, comparison.ratio)],
        tally: comparison.tally,
        against: { name: "page 1", summary: comparison.against },
      },
    ];
  },
};
