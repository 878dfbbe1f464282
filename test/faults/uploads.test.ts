import { describe, expect, test } from "bun:test";
import { NUMBERED_POINTS } from "../support/fault-points.ts";
import { random } from "../support/random.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";
import { UploadBody, uploadConfig } from "../support/upload-body.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const KILLS = 25;
const dice = random(SEED);
const METRICS = ["--config", uploadConfig()];

async function verified(data: string): Promise<void> {
  const { status, stdout, stderr } = await runTally(["verify", "--data", data, ...METRICS]);
  expect(status, stdout + stderr).toBe(0);
}

describe(`an upload with a key (SEED=${SEED})`, () => {
  const cases = [
    ...NUMBERED_POINTS.flatMap((point) => [1, 3, 6].map((times) => [point, times] as const)),
    // A visitor's turn is taken, and the line is not in the log.
    ...["visitors.putting", "visitors.claimed"].flatMap((point) => [1, 300].map((times) => [point, times] as const)),
    // A block is claimed, and not in the log.
    ...["writer.appended", "writer.published"].map((point) => [point, 1] as const),
  ];

  test.each(cases)("at %s, the %ith time: sent again it counts once", async (point, times) => {
    await inFolder(async (data) => {
      const body = new UploadBody({ mark: "p", lines: 14_000, seed: dice.below(1e9) });
      const dying = await TestServer.start({ data, args: METRICS, fault: `${point}:${times}` });
      expect(await body.send(dying.url)).toBeNull();
      expect((await dying.ended).signal).toBe("SIGKILL");
      expect(dying.stderr).toContain(`fault: ${point}`);
      const server = await TestServer.start({ data, args: METRICS });
      expect(await body.send(server.url)).toBe(200);
      await body.expectOnce(server.url);
      expect(await server.stop()).toEqual({ status: 0, signal: null });
      await verified(data);
    });
  });

  test(`through ${KILLS} times SIGKILL counts once, and so do others beside it`, async () => {
    await inFolder(async (data) => {
      let bodies: UploadBody[] = [];
      const done: UploadBody[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        while (bodies.length < 2) {
          const mark = `k${kill}-${bodies.length}`;
          bodies.push(new UploadBody({ mark, lines: 5_000 + dice.below(40_000), seed: dice.below(1e9) }));
        }
        const server = await TestServer.start({ data, args: [...METRICS, "--workers", "2"] });
        const sent = bodies.map((body) => body.send(server.url));
        await Promise.race([Bun.sleep(dice.below(700)), Promise.all(sent)]);
        await server.kill();
        const statuses = await Promise.all(sent);
        done.push(...bodies.filter((_, i) => statuses[i] === 200));
        bodies = bodies.filter((_, i) => statuses[i] !== 200);
      }
      const server = await TestServer.start({ data, args: METRICS });
      for (const body of bodies) expect(await body.send(server.url)).toBe(200);
      for (const body of [...bodies, ...done.slice(-4)]) expect(await body.send(server.url)).toBe(200);
      for (const body of [...bodies, ...done]) await body.expectOnce(server.url);
      expect(await server.stop()).toEqual({ status: 0, signal: null });
      await verified(data);
    });
  }, 240_000);

  test("waits for room where the table holds fewer counters than a block", async () => {
    await inFolder(async (data) => {
      const server = await TestServer.start({ data, args: [...METRICS, "--counters-max", "1000", "--flush-ms", "50"] });
      const body = new UploadBody({ mark: "small", lines: 9_000, seed: SEED, subjects: 3_000 });
      expect(await body.send(server.url)).toBe(200);
      expect(await body.send(server.url)).toBe(200);
      await body.expectOnce(server.url);
      expect(await server.stop()).toEqual({ status: 0, signal: null });
      await verified(data);
    });
  }, 60_000);
});
