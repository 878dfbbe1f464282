import { expect, test } from "bun:test";
import { createLog, type LogSetup } from "./log.ts";
import { LINE_BYTES_MAX } from "./log-lines.ts";

function recorded(setup: Partial<LogSetup> = {}) {
  const lines: string[] = [];
  const clock = { now: 0 };
  const created = createLog({ write: (line) => lines.push(line), now: () => clock.now });
  created.setUp(setup);
  return { ...created, lines, clock, parsed: () => lines.map((line) => JSON.parse(line)) };
}

test("a line is one JSON object", () => {
  const { log, lines } = recorded();
  log.info("listening", { url: "http://127.0.0.1:8080", big: 2n ** 60n, none: undefined });
  expect(lines).toEqual([
    '{"time":"1970-01-01T00:00:00.000Z","level":"info","msg":"listening","url":"http://127.0.0.1:8080","big":"1152921504606846976"}\n',
  ]);
});

test("only what is at the level or above is written", () => {
  const { log, lines, setUp } = recorded({ level: "warn" });
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  expect(lines).toHaveLength(2);
  log.child({ part: "x" }).always("e", { url: "http://a/" });
  expect(lines.at(-1)).toContain('"level":"info","msg":"e","part":"x","url":"http://a/"}');
  setUp({ level: "debug" });
  log.debug("f");
  expect(lines).toHaveLength(4);
});

test("a child adds its fields, the line's own go before them", () => {
  const { log, parsed } = recorded();
  log.child({ worker: 1, part: "a" }).child({ part: "b" }).info("x", { n: 2 });
  expect(parsed()[0]).toMatchObject({ worker: 1, part: "b", n: 2 });
});

test("an error has its message, code, cause and stack", () => {
  const { log, parsed } = recorded();
  const error = Object.assign(new Error("full", { cause: new Error("disk") }), { code: "ENOSPC" });
  log.error("cannot write", { error });
  expect(parsed()[0].error).toMatchObject({ message: "full", code: "ENOSPC", cause: "disk" });
  expect(parsed()[0].error.stack).toContain("log.test.ts");
});

test("what repeats is limited and the suppressed are counted", () => {
  const { log, clock, parsed } = recorded();
  const fail = () => log.limited("redis", 1000).warn("redis is away");
  for (let i = 0; i < 1000; i++) fail();
  log.limited("kafka", 1000).warn("kafka is away");
  clock.now = 999;
  fail();
  clock.now = 1000;
  fail();
  expect(parsed().map(({ msg, suppressed }) => [msg, suppressed])).toEqual([
    ["redis is away", undefined],
    ["kafka is away", undefined],
    ["redis is away", 1000],
  ]);
});

test("what the level leaves out does not use up a limit", () => {
  const { log, lines } = recorded({ level: "info" });
  log.limited("a", 1000).debug("x");
  log.limited("a", 1000).info("x");
  expect(lines).toHaveLength(1);
});

test("a line is never longer than one write may be, and stays JSON", () => {
  const { log, parsed, lines } = recorded();
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  log.info("é".repeat(5000), { a: "x".repeat(5000), cycle, list: Array(5000).fill("y") });
  log.error("deep", { error: new Error("z".repeat(9000)) });
  log.info("many", Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`field${i}`, "x".repeat(50)])));
  for (const line of lines) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(LINE_BYTES_MAX);
  expect(parsed().map((line) => line.clipped)).toEqual([true, true, true]);
  expect(parsed()[1].error.message).toStartWith("zzz");
});

test("pretty lines are for people", () => {
  const { log, lines } = recorded({ format: "pretty", fd: 2 });
  log.info("listening\n", { url: "http://a", text: "two words" });
  log.error("gone", { error: new Error("why") });
  const plain = lines.map((line) => Bun.stripANSI(line));
  expect(plain[0]).toBe('00:00:00.000 info  listening  url=http://a text="two words"\n');
  expect(plain[1]).toStartWith('00:00:00.000 error gone error="why"\nError: why\n');
});

test("lines of several threads do not mix in a pipe", async () => {
  const run = Bun.spawn([process.execPath, `${import.meta.dir}/../../test/support/log-threads.ts`], { stdout: "pipe" });
  const lines = (await new Response(run.stdout).text()).trimEnd().split("\n");
  expect(await run.exited).toBe(0);
  expect(lines).toHaveLength(4 * 500);
  for (const line of lines) expect(JSON.parse(line).text).toMatch(/^(\d)\1*$/);
});
