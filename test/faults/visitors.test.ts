import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { VISITOR_POINTS } from "../support/fault-points.ts";
import { random } from "../support/random.ts";
import { inFolder, TestServer } from "../support/server.ts";
import { VisitorLoad } from "../support/visitor-load.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const SUBJECT = "/v1/subjects/article/42";
const PATH = `${SUBJECT}/views`;
/** So many that the table grows. */
const MANY = 12_000;

function settingsIn(folder: string): { data: string; args: string[] } {
  const file = join(folder, "tally.yaml");
  writeFileSync(file, "metrics: {views: {kind: tally, unique: 1h}, likes: relation}\n");
  return { data: join(folder, "data"), args: ["--config", file, "--flush-ms", "100"] };
}

/** Everyone comes once more, and nobody counts who has; who was lost on the way may have. */
async function expectEachOnce(server: TestServer, load: VisitorLoad): Promise<void> {
  await load.run(() => [server.url], PATH, { times: 1 });
  expect(load.wrong).toEqual([]);
  const count = (await server.json<{ count: number }>(PATH)).count;
  expect(count).toBeGreaterThanOrEqual(load.acknowledged);
  expect(count).toBeGreaterThanOrEqual(load.visitors - load.lost.size);
  expect(count).toBeLessThanOrEqual(load.visitors);
}

describe(`visitors count once (SEED=${SEED})`, () => {
  test("whenever the server is killed", async () => {
    const dice = random(SEED);
    await inFolder(async (folder) => {
      const options = settingsIn(folder);
      const load = new VisitorLoad(MANY, SEED);
      for (let kill = 0; kill < 8; kill++) {
        const server = await TestServer.start(options);
        const killed = Bun.sleep(50 + dice.below(400)).then(() => server.kill());
        await load.run(() => [server.url], PATH, { until: killed });
        await killed;
      }
      const server = await TestServer.start(options);
      await expectEachOnce(server, load);
      expect(load.acknowledged).toBeGreaterThan(500);
      expect(await server.stop()).toEqual({ status: 0, signal: null });
    });
  }, 120_000);

  test.each(VISITOR_POINTS.flatMap((point) => [`${point}:`, `${point}:exit`]))(
    "where it dies, or a thread of it: %s",
    async (place) => {
      const [point, how] = place.split(":") as [string, string];
      await inFolder(async (folder) => {
        const options = settingsIn(folder);
        const load = new VisitorLoad(MANY, SEED);
        const times = point === "visitors.growing" ? 1 : 1 + random(SEED).below(500);
        let server = await TestServer.start({ ...options, fault: `${point}:${times}${how && ":exit"}` });
        await load.run(() => [server.url], PATH, { until: server.ended });
        expect(server.stderr).toContain(`fault: ${point}\n`);
        if (how === "exit") {
          await eventually(async () => expect((await server.json("/readyz")).status).toBe("ready"));
          // The successor has the fault before it, too.
          await server.stop();
        }
        server = await TestServer.start(options);
        await expectEachOnce(server, load);
        expect(await server.stop()).toEqual({ status: 0, signal: null });
      });
    },
    60_000,
  );

  test("from before midnight to after it, through SIGKILL", async () => {
    await inFolder(async (folder) => {
      const options = settingsIn(folder);
      const midnight = Math.ceil(Date.now() / 86_400_000) * 86_400_000;
      const visitAt = async (minute: number) => {
        const fault = `clock:${midnight + minute * 60_000 - Date.now()}`;
        const server = await TestServer.start({ ...options, fault });
        const answer = await fetch(new URL(PATH, server.url), {
          method: "POST",
          headers: { "user-agent": "a browser" },
        });
        await server.kill();
        return ((await answer.json()) as { counted?: boolean }).counted !== false;
      };
      const seen: [minute: number, counts: boolean][] = [];
      for (const minute of [-20, -1, 1, 39, 41, 99, 102]) seen.push([minute, await visitAt(minute)]);
      expect(seen).toEqual([
        [-20, true],
        [-1, false],
        [1, false],
        [39, false],
        [41, true],
        [99, false],
        [102, true],
      ]);
    });
  }, 60_000);
});
