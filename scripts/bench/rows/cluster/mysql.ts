import { join } from "node:path";
import { atLeast, atMost } from "../../finding.ts";
import { buildGo } from "../../go.ts";
import type { Row } from "../../row.ts";
import { startServer } from "../../server.ts";
import { LIKES } from "../likes.ts";
import { acceptedPercent } from "./likes.ts";

const SOURCE = join(import.meta.dir, "../../go-mysql");

/** Likes on a node of a cluster against Go that keeps them in the same MariaDB, with one transaction a like. */
export const mysql: Row = {
  name: "mysql",
  async measure(bench) {
    const program = await buildGo(SOURCE, bench.scratch.directory());
    const stores = await bench.startStores();
    const node = await bench.startNode(stores);
    const database = await stores.mysql.createDatabase();
    const go = await startServer([program, dsnOf(database)], { cwd: bench.scratch.directory() });
    await bench.warm(node, LIKES);
    const comparison = await bench.compare({
      async tally() {
        const run = await bench.run(node, LIKES);
        await bench.quiet(node);
        return run;
      },
      against: () => bench.run(go, LIKES),
    });
    await go.stop();
    await node.stop();
    return [
      {
        what: "cluster: likes against Go with one MySQL transaction a like",
        goals: [
          atLeast("ratio", 4, comparison.ratio),
          atMost("answered 202", 0, "%", acceptedPercent(comparison.tally)),
        ],
        tally: comparison.tally,
        against: { name: "Go + MySQL", summary: comparison.against },
      },
    ];
  },
};

/** As Go's driver wants it. Parameters are put into the text: one round trip a statement, not two. */
function dsnOf(url: string): string {
  const { username, password, host, pathname } = new URL(url);
  return `${username}:${password}@tcp(${host})${pathname}?interpolateParams=true`;
}
