import { afterAll, beforeAll, expect, test } from "bun:test";
import { freshSubject } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { apiOf, messagesIn, type NewCluster, NewClusters, untilReady } from "../support/new-cluster.ts";
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

/** The flags of a cluster with other URLs. */
function flagsWith(cluster: NewCluster, change: (url: URL) => void, isCuttable = false): string[] {
  return cluster.flags(isCuttable).map((flag) => {
    if (!/^(?:redis|mysql):/.test(flag)) return flag;
    const url = new URL(flag);
    change(url);
    return url.href;
  });
}

const REDIS = /--redis-url = redis:\/\/tally:\*\*\*@127\.0\.0\.1:\d+: must have .* Redis .*WRONGPASS/;
const MYSQL =
  /--mysql-url = mysql:\/\/\w+:\*\*\*@127\.0\.0\.1:\d+\/\w+: must have .* MySQL .*(?:Access denied|Unknown database)/;

test(
  "credentials that a store refuses are wrong settings: named, with their value, all together",
  async () => {
    await using cluster = await clusters.make();
    const redisWrong = flagsWith(cluster, (url) => {
      if (url.protocol === "redis:") [url.username, url.password] = ["tally", "geheim"];
    });
    const mysqlWrong = flagsWith(cluster, (url) => {
      if (url.protocol === "mysql:") url.password = "geheim";
    });
    const noDatabase = flagsWith(cluster, (url) => {
      if (url.protocol === "mysql:") url.pathname = "/nowhere";
    });
    await cluster.ask("CREATE USER stranger IDENTIFIED BY 'geheim'");
    const notAllowed = flagsWith(cluster, (url) => {
      if (url.protocol === "mysql:") [url.username, url.password] = ["stranger", "geheim"];
    });
    const allWrong = flagsWith(cluster, (url) => {
      [url.username, url.password] = ["tally", "geheim"];
    });
    const one = (problem: RegExp) => new RegExp(`^tally: wrong setting: ${problem.source}.*\\n$`);
    const every = [["serve"], ["consume"], ["migrate"], ["verify"], ["export"], ["import"]];
    const cases: [commands: string[][], flags: string[], says: RegExp][] = [
      [[["serve"], ["consume"]], redisWrong, one(REDIS)],
      [every, mysqlWrong, one(MYSQL)],
      [every, noDatabase, one(MYSQL)],
      [every, notAllowed, one(MYSQL)],
      [
        [["serve"]],
        allWrong,
        new RegExp(`^tally: 2 settings are wrong\\n +${MYSQL.source}.*\\n +${REDIS.source}.*\\n$`),
      ],
    ];
    for (const [commands, flags, says] of cases) {
      const stderr = expect.stringMatching(says);
      const refused = commands.map((command) => expect.objectContaining({ command, status: 78, stderr }));
      const ended = await ends(commands, flags);
      expect(ended).toEqual(refused);
      expect(JSON.stringify(ended)).not.toContain("geheim");
    }
    // Once MySQL and Kafka have let it in.
    expect(await runTally(["migrate", ...cluster.flags()])).toMatchObject({ status: 0 });
    const verified = await runTally(["verify", ...redisWrong]);
    expect(verified).toMatchObject({ status: 78, stderr: expect.stringMatching(REDIS) });
  },
  TEST_MS_MAX,
);

test(
  "a node that runs has been let in once: what MySQL refuses then is away",
  async () => {
    await using cluster = await clusters.make();
    const { pathname } = new URL(cluster.flags().find((flag) => flag.startsWith("mysql:")) as string);
    await cluster.ask("CREATE USER one_day IDENTIFIED BY 'geheim'");
    await cluster.ask(`GRANT ALL ON ${pathname.slice(1)}.* TO one_day`);
    const args = flagsWith(
      cluster,
      (url) => {
        if (url.protocol === "mysql:") [url.username, url.password] = ["one_day", "geheim"];
      },
      true,
    );
    const first = await cluster.start("first", { args });
    await untilReady(first);
    await first.stop();
    const ways = clusters.stores.ways[0];
    await ways?.mysql.cut();
    const second = await cluster.start("first", { args });
    await cluster.ask("DROP USER one_day");
    await ways?.mysql.heal();
    await eventually(async () => {
      const { parts } = await second.json<{ parts: { mysql: object } }>("/readyz");
      expect(parts.mysql).toMatchObject({ status: "down", detail: expect.stringContaining("Access denied") });
    });
    // More than one round of comparing what it has started with.
    await Bun.sleep(3_000);
    expect(second.hasEnded).toBe(false);
    expect([200, 202]).toContain((await apiOf(second).put(`${freshSubject().path}/likes/1`)).status);
    await cluster.ask("CREATE USER one_day IDENTIFIED BY 'geheim'");
    await cluster.ask(`GRANT ALL ON ${pathname.slice(1)}.* TO one_day`);
    await untilReady(second);
    expect(await second.stop()).toEqual({ status: 0, signal: null });
  },
  TEST_MS_MAX,
);

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

test(
  "a prefix that no node of the ledger has is a wrong setting: nothing is made under it, and nothing found right",
  async () => {
    await using cluster = await clusters.make();
    const node = await cluster.start("first");
    await untilReady(node);
    await node.stop();
    const flags = cluster.flags().map((flag) => (flag === cluster.prefix ? `${flag}typo` : flag));
    const stderr = `tally: wrong setting: --prefix = ${cluster.prefix}typo: must be that of the nodes on this ledger: ${cluster.prefix}\n`;
    const commands = [["verify"], ["verify", "--repair"], ["export"], ["import"]];
    const refused = commands.map((command) => ({ command, status: 78, stdout: "", stderr }));
    expect(await ends(commands, flags)).toEqual(refused);
    await expect(messagesIn(clusters.stores.kafka.brokers, `${cluster.prefix}typo.log`)).rejects.toThrow("topic");
    expect(await cluster.verify()).toMatchObject({ status: 0 });
  },
  TEST_MS_MAX,
);
