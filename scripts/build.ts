// Builds dist/tally, one executable that needs no other file. With --faults also dist/tally-faults, the same with the
// fault points that tests use.
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
process.chdir(ROOT);
/** Where the process and its threads start: in the executable a Worker is found only if it was an entry point. */
const ENTRIES = [
  "src/main.ts",
  "src/workers/thread.ts",
  "src/embedded/writer-thread.ts",
  "src/embedded/projector-thread.ts",
  "src/embedded/verify-thread.ts",
  "src/embedded/ranker-thread.ts",
  "src/cluster/log-thread.ts",
  "src/cluster/projector-thread.ts",
  "src/cluster/ranker-thread.ts",
];

interface Target {
  name: string;
  faults: boolean;
}

async function build({ name, faults }: Target): Promise<void> {
  const outfile = join(ROOT, "dist", name);
  const result = await Bun.build({
    entrypoints: ENTRIES.map((entry) => join(ROOT, entry)),
    root: join(ROOT, "src"),
    target: "bun",
    format: "esm",
    // Whitespace and names stay: bytecode makes parsing free, and a stack trace shows the lines as they are written.
    minify: { syntax: true, whitespace: false, identifiers: false },
    sourcemap: "linked",
    bytecode: true,
    // Without this the branch that looks for fault points is gone from the executable.
    define: faults ? {} : { "process.env.FAULT_POINT": "undefined" },
    compile: {
      outfile,
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
  });
  // The maps are inside the executable; these are copies.
  for (const file of result.outputs) if (file.kind === "sourcemap") rmSync(file.path, { force: true });
  for (const log of result.logs) console.error(log);
  if (!result.success) throw new Error(`dist/${name} was not built`);
  console.log(`dist/${name} ${(Bun.file(outfile).size / 1e6).toFixed(0)} MB`);
}

const missing = ENTRIES.filter((path) => !existsSync(join(ROOT, path)));
if (missing.length > 0) {
  console.error(`Nothing to build: ${missing.join(", ")} missing`);
  process.exit(1);
}
mkdirSync(join(ROOT, "dist"), { recursive: true });
await build({ name: "tally", faults: false });
if (process.argv.includes("--faults")) await build({ name: "tally-faults", faults: true });
