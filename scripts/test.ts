// `npm test`: every test there is. `npm test -- src/lib launcher` runs the files whose path holds one of the words.
// Each file runs in a process of its own, so that a crash or something left open by one is not the next one's trouble.
// The last line is `N passed, N failed`.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Glob } from "bun";
import { type Cluster, startCluster } from "./services/cluster.ts";
import { sharedEnvironment } from "./services/shared.ts";

const ROOT = join(import.meta.dir, "..");
/** As most of a test is waiting, files run in two lanes side by side: these, and all others. Who is done first helps. */
const SECOND_LANE = /^test\/(contract|cluster|e2e)\//;
/** Afterwards, with nothing beside them: they measure how long answers take, or count on stores that are never slow. */
const ALONE =
  /((stores|visitors)-away|without-redis.*|cluster-(chaos|hot|redis-(cluster|lost|refuses)|stores)|redis-faults|mysql-reader|kafka-producer)\.test/;
/** For one test that says nothing else: a machine that builds beside it is slow. */
const TEST_TIMEOUT_MS = 30_000;
/** For a file: longer than any of them, to end one that hangs. */
const FILE_TIMEOUT_MS = 1_800_000;

interface Outcome {
  passed: number;
  failed: number;
  /** Why it is not green, a line each. */
  troubles: string[];
}

async function run(command: string[], timeoutMs?: number): Promise<{ status: string; output: string }> {
  const child = Bun.spawn(command, {
    cwd: ROOT,
    env: {
      ...process.env,
      CI: "true", // refuses test.only
      TALLY_BINARY: join(ROOT, "dist/tally"),
      TALLY_FAULTS_BINARY: join(ROOT, "dist/tally-faults"),
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    ...(timeoutMs && { timeout: timeoutMs, killSignal: "SIGKILL" as const }),
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status: String(child.signalCode ?? child.exitCode), output: stdout + stderr };
}

function readReport(path: string): { tests: number; failures: number; skipped: number } | null {
  if (!existsSync(path)) return null;
  const suites = /<testsuites [^>]*>/.exec(readFileSync(path, "utf8"))?.[0] ?? "";
  const read = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(suites)?.[1] ?? Number.NaN);
  return { tests: read("tests"), failures: read("failures"), skipped: read("skipped") };
}

async function testFile(file: string, reports: string): Promise<Outcome> {
  const report = join(reports, `${Bun.hash(file).toString(36)}.xml`);
  const startedAt = performance.now();
  const { status, output } = await run(
    [
      process.execPath,
      "test",
      `./${file}`,
      `--timeout=${TEST_TIMEOUT_MS}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
    ],
    FILE_TIMEOUT_MS,
  );
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const outcome = judge(status, readReport(report));
  if (outcome.failed > 0) console.log(output.trimEnd());
  console.log(`${file}: ${outcome.passed} passed, ${outcome.failed} failed (${seconds} s)`);
  outcome.troubles = outcome.troubles.map((trouble) => `${file}: ${trouble}`);
  return outcome;
}

function laneOf(file: string): "first" | "second" | "last" {
  if (ALONE.test(file)) return "last";
  return SECOND_LANE.test(file) ? "second" : "first";
}

/** Nothing counts as passed that did not run to its end: no report, no test, a skipped one is a failure. */
function judge(status: string, report: ReturnType<typeof readReport>): Outcome {
  if (!report || Number.isNaN(report.tests + report.failures + report.skipped)) {
    return { passed: 0, failed: 1, troubles: [`ended with ${status} and without a report`] };
  }
  const { tests, failures, skipped } = report;
  const troubles: string[] = [];
  let failed = failures + skipped;
  if (failures > 0) troubles.push(`${failures} failed`);
  if (skipped > 0) troubles.push(`${skipped} skipped or still to do`);
  if (tests === 0) troubles.push("holds no test");
  else if (status !== "0" && failures === 0) troubles.push(`ended with ${status}, an error outside any test`);
  if (troubles.length > 0 && failed === 0) failed = 1;
  return { passed: tests - failures - skipped, failed, troubles };
}

/** Redis, MariaDB and Kafka for all files that share them; before any test, as this installs what is missing. */
async function startShared(files: string[]): Promise<Cluster | null> {
  if (!files.some((file) => readFileSync(join(ROOT, file), "utf8").includes("sharedServices"))) return null;
  const cluster = await startCluster({ mysql: { durable: false } });
  Object.assign(process.env, sharedEnvironment(cluster));
  return cluster;
}

const words = process.argv.slice(2).map((word) => word.replace(/^\.\//, ""));
const files = [...new Glob("{src,test}/**/*.test.{ts,tsx}").scanSync({ cwd: ROOT })]
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();

const total: Outcome = { passed: 0, failed: 0, troubles: [] };
const built = await run([process.execPath, "scripts/build.ts", "--faults"]);
console.log(built.output.trimEnd());
if (built.status !== "0") {
  total.failed += 1;
  total.troubles.push("the build failed; tests of the executable run an older one or none");
}
if (files.length === 0) {
  total.failed += 1;
  total.troubles.push("there is no such test");
}
const reports = mkdtempSync(join(tmpdir(), "tally-test-"));
const testAll = async (...lanes: string[][]) => {
  const take = () => lanes.find((lane) => lane.length > 0)?.shift();
  for (let file = take(); file; file = take()) {
    const { passed, failed, troubles } = await testFile(file, reports);
    total.passed += passed;
    total.failed += failed;
    total.troubles.push(...troubles);
  }
};
const shared = await startShared(files).catch((error) => {
  total.failed += 1;
  total.troubles.push(`Redis, MariaDB or Kafka: ${error.message}`);
  return null;
});
try {
  const { first = [], second = [], last = [] } = Object.groupBy(files, laneOf);
  await Promise.all([testAll(first), testAll(second, first)]);
  await testAll(last);
} finally {
  await shared?.stop();
  rmSync(reports, { recursive: true, force: true });
}
if (total.troubles.length > 0) console.log(`\n${total.troubles.join("\n")}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
