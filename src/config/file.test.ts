import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSettingsFile } from "./file.ts";

const folder = mkdtempSync(join(tmpdir(), "tally-file-"));
afterAll(() => rmSync(folder, { recursive: true }));

function read(yaml: string) {
  const path = join(folder, "tally.yaml");
  writeFileSync(path, yaml);
  const { settings, problems } = readSettingsFile(path);
  const lines = problems.map(({ name, message }) => `${name.replace(path, "file")} ${message}`);
  return { lines, raw: (name: "types" | "corsOrigins") => settings.get(name)?.raw };
}

test("an alias of nothing is named by its place, and not by what it says", () => {
  const message = "names an anchor that is not there; what begins with * wants quotes";
  expect(read("port: 1\ncorsOrigins: [*.example.org, *b]").lines).toEqual([
    `file:2:15 ${message}`,
    `file:2:30 ${message}`,
  ]);
  expect(read("jwtSecret: *geheim").lines).toEqual([`file:1:12 ${message}`]);
  expect(read("types: *late\nprefix: &late a").lines).toEqual([`file:1:8 ${message}`]);
  expect(read("corsOrigins: *").lines).toEqual(["file:1:14 is no valid YAML (bad_alias)"]);
});

test("an alias of what is there is that; one of too much is no file", () => {
  expect(read("types: &all [article]\ncorsOrigins: *all").raw("corsOrigins")).toEqual(["article"]);
  const many = ["a: &a [x, x, x, x, x, x, x, x, x, x]"];
  for (const [one, next] of ["ab", "bc", "cd"]) many.push(`${next}: &${next} [${`*${one}, `.repeat(10)}]`);
  expect(read(many.join("\n")).lines).toEqual([expect.stringMatching(/^file is no valid YAML/)]);
});
