import { afterAll, beforeAll, expect, test } from "bun:test";
import { NewClusters } from "../support/new-cluster.ts";
import { inFolder, runTally } from "../support/server.ts";

const TEST_MS_MAX = 60_000;

let clusters: NewClusters;
beforeAll(async () => {
  clusters = await NewClusters.start();
}, TEST_MS_MAX);
afterAll(() => clusters[Symbol.asyncDispose](), TEST_MS_MAX);

/** What each of the commands, which all end by themselves, ends with. */
async function ends(commands: readonly string[][], flags: readonly string[]): Promise<unknown[]> {
  return inFolder(async (data) => {
    const every = [...flags, "--data", data, "--port", "0", "--grpc-port", "0"];
    const ended: unknown[] = [];
    for (const command of commands) ended.push({ command, ...(await runTally([...command, ...every])) });
    return ended;
  });
}

test(
  "a ledger that was never migrated: who may not do it is told so, in a line",
  async () => {
    await using cluster = await clusters.make();
    const stderr = "tally: the MySQL ledger's schema is not up to date: run `tally migrate`\n";
    const commands = [["verify"], ["export"], ["import", "--no-migrate"], ["serve", "--no-migrate"]];
    const refused = commands.map((command) => ({ command, status: 78, stdout: "", stderr }));
    expect(await ends(commands, cluster.flags())).toEqual(refused);
    expect(await runTally(["migrate", ...cluster.flags()])).toMatchObject({ status: 0, stderr: "" });
    expect(await runTally(["verify", ...cluster.flags()])).toMatchObject({ status: 0 });
  },
  TEST_MS_MAX,
);
