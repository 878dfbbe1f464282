import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartError } from "../errors.ts";
import { Input } from "./input.ts";

const folder = mkdtempSync(join(tmpdir(), "tally-input-"));
const { TMPDIR } = process.env;

afterEach(() => {
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
});

/** A pipe with a name, into which somebody writes. */
function pipeOf(text: string): string {
  const [file, pipe] = [join(folder, "text"), join(folder, "pipe")];
  writeFileSync(file, text);
  rmSync(pipe, { force: true });
  Bun.spawnSync(["mkfifo", pipe]);
  Bun.spawn(["sh", "-c", `cat '${file}' > '${pipe}'`]);
  return pipe;
}

const textOf = (input: Input) => Buffer.concat([...input.chunks()]).toString();

test("a file and a pipe with a name are read twice", async () => {
  const text = "0123456789\n".repeat(200_000);
  for (const path of [pipeOf(text), join(folder, "text")]) {
    const input = await Input.open(path);
    expect(textOf(input) === text && textOf(input) === text).toBe(true);
    input.close();
  }
});

test("a pipe that cannot be kept is no bug", async () => {
  process.env.TMPDIR = join(folder, "none");
  const error = await Input.open(pipeOf("x")).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StartError);
  expect(error).toMatchObject({ exitStatus: 69, message: expect.stringContaining(process.env.TMPDIR) });
  rmSync(folder, { recursive: true });
});
