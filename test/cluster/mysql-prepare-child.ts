import { ensureMetrics, prepareLedger } from "../../src/cluster/mysql/open-ledger.ts";

// One node's start: the ledger's URL, then the names of its metrics (all tallies).
const [url = "", ...names] = process.argv.slice(2);
await prepareLedger(url);
const metrics = await ensureMetrics(
  url,
  names.map((name) => ({ name, kind: "tally" as const })),
);
process.stdout.write(JSON.stringify(metrics));
