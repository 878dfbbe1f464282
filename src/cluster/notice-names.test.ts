import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NoticeNames } from "./notice-names.ts";

const ROOT = mkdtempSync(join(tmpdir(), "tally-notice-names-"));
afterAll(() => rmSync(ROOT, { recursive: true }));

function newFolder(): string {
  return mkdtempSync(join(ROOT, "outbox-"));
}

test("the next run on a folder finds what the last one wrote, wherever the folder is by then", () => {
  const folder = newFolder();
  expect(new NoticeNames(folder, "spools").read()).toEqual([]);
  new NoticeNames(folder, "spools").write(["a"]);
  new NoticeNames(folder, "spools").write(["a", "b"]);
  expect(new NoticeNames(folder, "spools").read()).toEqual(["a", "b"]);
  renameSync(folder, `${folder}-moved`);
  expect(new NoticeNames(`${folder}-moved`, "spools").read()).toEqual(["a", "b"]);
});

test("a copy of the folder knows none of them: the first one's node may live", () => {
  const folder = newFolder();
  new NoticeNames(folder, "spools").write(["a"]);
  cpSync(folder, `${folder}-copy`, { recursive: true, preserveTimestamps: true });
  const copy = new NoticeNames(`${folder}-copy`, "spools");
  expect(copy.read()).toEqual([]);
  copy.write(["b"]);
  expect(copy.read()).toEqual(["b"]);
  expect(new NoticeNames(folder, "spools").read()).toEqual(["a"]);
});

test("what was written before the machine started anew is not believed, nor what a power cut spoiled", () => {
  const folder = newFolder();
  const path = join(folder, "spools.json");
  new NoticeNames(folder, "spools").write(["a"]);
  const text = readFileSync(path, "utf8");
  const boot = (JSON.parse(text) as { outbox: string }).outbox.split(" ")[0] as string;
  writeFileSync(path, text.replace(boot, "another"));
  expect(new NoticeNames(folder, "spools").read()).toEqual([]);
  writeFileSync(path, "");
  expect(new NoticeNames(folder, "spools").read()).toEqual([]);
});

test("a disk that refuses the file is none of its matter", () => {
  const folder = newFolder();
  const names = new NoticeNames(folder, "spools");
  rmSync(folder, { recursive: true });
  names.write(["a"]);
  expect(names.read()).toEqual([]);
});
