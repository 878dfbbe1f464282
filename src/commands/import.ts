import { usageError } from "../config/arguments.ts";
import type { Settings } from "../config.ts";
import { EXIT } from "../errors.ts";
import { openArchive } from "../open.ts";
import type { CsvOptions } from "../transfer/csv.ts";
import { type ImportOptions, importInto, type Progress } from "../transfer/import.ts";
import { Input } from "../transfer/input.ts";
import { Mapping } from "../transfer/mapping.ts";
import { readMoment } from "../transfer/times.ts";
import type { CommandArgs } from "./table.ts";

const TELL_EVERY_MS = 2_000;
const DELIMITERS: Readonly<Record<string, string>> = { tab: "\t", comma: ",", semicolon: ";" };

/** Says what was brought in. Lines that are not right are named, and then nothing is done. */
export async function run(settings: () => Settings, { words, options }: CommandArgs): Promise<number> {
  const [file, ...more] = words;
  if (more.length > 0) throw usageError("import takes one file");
  const asked = optionsOf(options);
  const archive = openArchive(settings());
  const input = await Input.open(file);
  const target = await archive.target();
  try {
    const imported = await importInto(target, input, asked, tellProgress());
    const { tallies, relations, known } = imported;
    const before = known === 0 ? "" : `; ${count(known)} of them had been imported before`;
    process.stdout.write(`${count(tallies)} tallies and ${count(relations)} relations${before}\n`);
  } finally {
    input.close();
    await target.close();
  }
  return EXIT.ok;
}

function optionsOf(options: CommandArgs["options"]): ImportOptions {
  const at = typeof options.at === "string" ? readMoment(options.at, true) : null;
  if (options.at !== undefined && at === null) throw usageError("--at must be a time in UTC like 2026-11-20T12:00:00Z");
  return { csv: csvOf(options), at };
}

function csvOf({ csv, map, delimiter, headless }: CommandArgs["options"]): CsvOptions | undefined {
  if (csv === undefined) {
    if (map === undefined && delimiter === undefined && headless === undefined) return undefined;
    throw usageError("--map, --delimiter and --headless go with --csv");
  }
  if (typeof map !== "string") throw usageError("--csv needs --map, which says what the columns are");
  const mapping = new Mapping(map);
  const character = typeof delimiter === "string" ? (DELIMITERS[delimiter] ?? delimiter) : ",";
  if (character.length !== 1) throw usageError("--delimiter must be one character, or comma, semicolon or tab");
  return { mapping, delimiter: character, isHeadless: headless === true };
}

function tellProgress(): Progress {
  let toldMs = performance.now();
  return (phase, lines, of) => {
    const nowMs = performance.now();
    if (nowMs - toldMs < TELL_EVERY_MS) return;
    toldMs = nowMs;
    process.stderr.write(`${count(lines)}${of === null ? "" : ` of ${count(of)}`} lines ${phase}\n`);
  };
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}
