import { expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import about from "../package.json" with { type: "json" };

function tally(...args: string[]) {
  // An environment of its own: TALLY_ variables of whoever runs the tests must have no say.
  const run = Bun.spawnSync([process.execPath, join(import.meta.dir, "main.ts"), ...args], {
    cwd: tmpdir(),
    env: { PATH: process.env.PATH, TALLY_JWT_SECRET: "geheim", TALLY_DATA: join(tmpdir(), "tally-main-test-none") },
    stdout: "pipe",
    stderr: "pipe",
  });
  return { status: run.exitCode, out: run.stdout.toString(), err: run.stderr.toString() };
}

test("help and version end with 0", () => {
  const { status, out } = tally("help");
  expect(status).toBe(0);
  for (const part of ["tally [command] [settings]", "serve", "verify", "--redis-url URL", "[127.0.0.1]", "Access:"]) {
    expect(out).toContain(part);
  }
  for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  expect(tally("--help").out).toBe(out);
  expect(tally("--port=1", "--help", "verify").out).toContain("--repair");
  expect(tally("help", "verify")).toMatchObject({ status: 0, out: tally("verify", "--help").out });
  expect(tally("--version")).toEqual({ status: 0, out: `tally ${about.version}\n`, err: "" });
  expect(tally("version").out).toBe(`tally ${about.version}\n`);
});

test.each([
  [["--prot=1"], "unknown flag --prot; did you mean --port?"],
  [["vreify"], "there is no command vreify; did you mean verify?"],
  [["serve", "--repair"], "serve has no flag --repair"],
  [["migrate", "now"], "migrate takes no words"],
  [["help", "nothing"], "there is no command nothing"],
  [["toString"], "there is no command toString"],
])("%j ends with 64 and one line", (args, line) => {
  const { status, out, err } = tally(...args);
  expect({ status, out }).toEqual({ status: 64, out: "" });
  expect(err).toStartWith(`tally: ${line}`);
  expect(err.trimEnd()).not.toContain("\n");
});

test("what is not in this version yet ends with 69", () => {
  const NOT_YET = { status: 69, out: "", err: "tally: key is not in this version yet\n" };
  expect(tally("key")).toEqual(NOT_YET);
  expect(tally("key", "create", "--role", "write", "--name", "web")).toEqual(NOT_YET);
  expect(tally("help").out).not.toMatch(/^ {2}key /m);
});

test("wrong settings end with 78, all of them together", () => {
  const { status, out, err } = tally("serve", "--port=x", "--flush-ms", "1", "--mysql-url=mysql://u:geheim@h");
  expect({ status, out }).toEqual({ status: 78, out: "" });
  expect(err).toStartWith("tally: 3 settings are wrong\n  --port = x: must be");
  expect(err).toContain("--flush-ms = 1: must be");
  expect(err).not.toContain("geheim");
});

test("a server that would be open to all ends with 78; what does not listen does not mind", () => {
  const elsewhere = ["--host=0.0.0.0", "--jwt-secret="];
  expect(tally(...elsewhere)).toMatchObject({ status: 78, err: expect.stringContaining("protected mode") });
  expect(tally("verify", ...elsewhere).err).not.toContain("protected mode");
});
