import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CLUSTER_UPLOAD_POINTS } from "../support/fault-points.ts";
import { random } from "../support/random.ts";
import { runTally, TestServer } from "../support/server.ts";
import { sharedServices } from "../support/services.ts";
import { UploadBody, uploadConfig } from "../support/upload-body.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const KILLS = 8;
const dice = random(SEED);
const METRICS = ["--config", uploadConfig()];

/** Nodes of one cluster, each with a directory of its own that outlives it. */
class Nodes {
  readonly flags: string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "tally-"));
  readonly #stop: () => Promise<void>;

  private constructor({ flags, stop }: { flags: string[]; stop(): Promise<void> }) {
    this.flags = flags;
    this.#stop = stop;
  }

  static async open(): Promise<Nodes> {
    return new Nodes(await sharedServices());
  }

  start(node: number, { fault = "", args: more = [] as string[] } = {}): Promise<TestServer> {
    const args = [...this.flags, ...METRICS, "--flush-ms", "50", ...more];
    return TestServer.start({ data: join(this.#folder, String(node)), args, ...(fault && { fault }) });
  }

  async verified(): Promise<void> {
    const { status, stdout, stderr } = await runTally(["verify", ...this.flags, ...METRICS]);
    expect(status, stdout + stderr).toBe(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await TestServer.killAll();
    await this.#stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Of who dies: the group would wait for the end of its session, and all that it is asked with the group. */
const NO_CONSUMER = { args: ["--no-consumer"] };

const cases = [
  ...CLUSTER_UPLOAD_POINTS.flatMap((point) => [1, 4].map((times) => [point, times] as const)),
  // A block is claimed here, and nobody else knows that, or that it is not in the log.
  ...["cluster.acts.appended", "cluster.acts.shipped"].flatMap((point) =>
    [1, 3].map((times) => [point, times] as const),
  ),
  // A visitor's turn is taken here, and Redis does not know it yet.
  ["visitors.claimed", 200] as const,
];

test.each(cases)(
  `a node that dies at %s, the %ith time: sent again to another one it counts once (SEED=${SEED})`,
  async (point, times) => {
    await using nodes = await Nodes.open();
    const [dying, other] = await Promise.all([
      nodes.start(0, { fault: `${point}:${times}`, ...NO_CONSUMER }),
      nodes.start(1),
    ]);
    const body = new UploadBody({ mark: "p", lines: 9_000, seed: dice.below(1e9) });
    expect(await body.send(dying.url)).toBeNull();
    expect(dying.stderr).toContain(`fault: ${point}`);
    // What the dead node has in its outbox only comes when the other has sent the same.
    // 202 where the machine is too slow to show it within five seconds.
    expect([200, 202]).toContain((await body.send(other.url)) as number);
    await body.expectOnce(other.url);
    const back = await nodes.start(0, NO_CONSUMER);
    expect(await body.send(back.url)).toBe(200);
    await body.expectOnce(back.url);
    for (const node of [back, other]) expect(await node.stop()).toEqual({ status: 0, signal: null });
    await nodes.verified();
  },
  120_000,
);

test(`two nodes that take the same uploads at once, through ${KILLS} times SIGKILL (SEED=${SEED})`, async () => {
  await using nodes = await Nodes.open();
  const servers = await Promise.all([nodes.start(0), nodes.start(1)]);
  const done: UploadBody[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const body = new UploadBody({ mark: `k${kill}`, lines: 3_000 + dice.below(12_000), seed: dice.below(1e9) });
    const victim = kill % 2;
    const sent = servers.map(({ url }) => body.send(url));
    await Bun.sleep(dice.below(600));
    await servers[victim]?.kill();
    const statuses = await Promise.all(sent);
    // 202 where the machine is too slow to show it within five seconds.
    expect([200, 202]).toContain(statuses[1 - victim] as number);
    await body.expectOnce((servers[1 - victim] as TestServer).url);
    servers[victim] = await nodes.start(victim);
    done.push(body);
  }
  for (const body of done) {
    expect(await body.send((dice.pick(servers) as TestServer).url)).toBe(200);
    for (const { url } of servers) await body.expectOnce(url);
  }
  for (const server of servers) expect(await server.stop()).toEqual({ status: 0, signal: null });
  await nodes.verified();
}, 240_000);
