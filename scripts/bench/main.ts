/** `npm run bench`: measures what the project promises about speed and size. See options.ts for the arguments. */
import { Bench } from "./bench.ts";
import type { Finding } from "./finding.ts";
import { findOha } from "./oha.ts";
import { type Options, parseOptions, USAGE } from "./options.ts";
import { tableOf, warningsOf, writeReport } from "./report.ts";
import type { Row } from "./row.ts";
import { backlog } from "./rows/cluster/backlog.ts";
import { flush } from "./rows/cluster/flush.ts";
import { idle } from "./rows/cluster/idle.ts";
import { clusterLikes } from "./rows/cluster/likes.ts";
import { memory } from "./rows/cluster/memory.ts";
import { mysql } from "./rows/cluster/mysql.ts";
import { clusterPages } from "./rows/cluster/pages.ts";
import { clusterViews } from "./rows/cluster/views.ts";
import { distinct } from "./rows/distinct.ts";
import { events } from "./rows/events.ts";
import { likes } from "./rows/likes.ts";
import { lists } from "./rows/lists.ts";
import { pages } from "./rows/pages.ts";
import { read } from "./rows/read.ts";
import { rows } from "./rows/rows.ts";
import { rules } from "./rows/rules.ts";
import { start } from "./rows/start.ts";
import { streams } from "./rows/streams.ts";
import { subjects } from "./rows/subjects.ts";
import { top } from "./rows/top.ts";
import { views } from "./rows/views.ts";

const ROWS: readonly Row[] = [
  views,
  likes,
  read,
  pages,
  lists,
  subjects,
  rows,
  rules,
  events,
  distinct,
  streams,
  top,
  start,
];
const CLUSTER_ROWS: readonly Row[] = [clusterViews, clusterLikes, clusterPages, mysql, backlog, flush, memory, idle];
const STATUS_FAILED = 1;
const STATUS_USAGE = 64;

function chosen({ cluster, only }: Options): readonly Row[] {
  const rows = cluster ? CLUSTER_ROWS : ROWS;
  const unknown = only.filter((name) => !rows.some((row) => row.name === name));
  if (unknown.length > 0) throw new Error(`no row is called ${unknown.join(", ")}`);
  return only.length === 0 ? rows : rows.filter((row) => only.includes(row.name));
}

/** Measures row after row; one that fails is reported, and the others are still measured. */
async function measure(options: Options, chosenRows: readonly Row[]): Promise<number> {
  findOha();
  const bench = new Bench(options);
  bench.command();
  const findings: Finding[] = [];
  let reportPath = "";
  let status = 0;
  for (const row of chosenRows) {
    bench.say(`${row.name}:`);
    try {
      findings.push(...(await row.measure(bench)));
    } catch (error) {
      status = STATUS_FAILED;
      bench.say(`  not measured: ${(error as Error).message}`);
    }
    await bench.clear();
    reportPath = writeReport(findings, options);
  }
  console.log(`${tableOf(findings)}\n`);
  for (const warning of warningsOf(findings, options)) console.log(`${warning}\n`);
  bench.say(`All rounds: ${reportPath}`);
  return status;
}

async function main(args: readonly string[]): Promise<number> {
  let options: Options;
  let chosenRows: readonly Row[];
  try {
    options = parseOptions(args);
    chosenRows = chosen(options);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return STATUS_USAGE;
  }
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  try {
    return await measure(options, chosenRows);
  } catch (error) {
    console.error((error as Error).message);
    return STATUS_FAILED;
  }
}

process.exit(await main(process.argv.slice(2)));
