import type { Bench } from "../bench.ts";
import { atLeast, type Finding } from "../finding.ts";
import type { Load } from "../oha.ts";
import type { Server } from "../server.ts";

/** The same load on two servers in turn, one of which does something more (`name` says what the other lacks). */
export async function besidePlain(
  bench: Bench,
  servers: { tally: Server; plain: Server; name: string },
  { what, load, goal }: { what: string; load: Load; goal: number },
): Promise<Finding> {
  const loaded = async (server: Server) => {
    const run = await bench.run(server, load);
    await bench.quiet(server);
    return run;
  };
  const comparison = await bench.compare({ tally: () => loaded(servers.tally), against: () => loaded(servers.plain) });
  return {
    what,
    goals: [atLeast("ratio", goal, comparison.ratio)],
    tally: comparison.tally,
    against: { name: servers.name, summary: comparison.against },
  };
}
