// Runs the pinned Bun with the given arguments. npm may block install scripts, and then node_modules/.bin/bun is only a
// stub that says so; the binary itself came with the package of this platform, so it is looked for there first.
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Below this it is the stub (a few hundred bytes); a Bun has about 100 MB. */
const BINARY_BYTES_MIN = 1_000_000;
/**
 * Ctrl-C reaches this process twice, from the terminal and passed on by npm, a few milliseconds apart. The server would
 * take the second for "end at once", so a second SIGINT this soon is the same one. People press it more slowly.
 */
const SAME_INTERRUPT_MS = 200;

function findBun() {
  const modules = new URL("../node_modules/", import.meta.url);
  const exe = process.platform === "win32" ? "bun.exe" : "bun";
  const arch = process.arch === "arm64" ? "aarch64" : process.arch;
  const system = process.platform === "win32" ? "windows" : process.platform;
  const musl = system === "linux" && !process.report.getReport().header.glibcVersionRuntime ? "-musl" : "";
  const candidates = [`@oven/bun-${system}-${arch}${musl}/bin/${exe}`, "bun/bin/bun.exe"];
  return candidates
    .map((path) => fileURLToPath(new URL(path, modules)))
    .find((path) => existsSync(path) && statSync(path).size >= BINARY_BYTES_MIN);
}

const bun = findBun();
if (!bun) {
  console.error(
    `No Bun for ${process.platform} ${process.arch} in node_modules: run "npm ci" (with optional packages).`,
  );
  process.exit(1);
}

// A process group of its own: what the terminal sends to ours reaches Bun once, through us, and what Bun starts as well.
const child = spawn(bun, process.argv.slice(2), { stdio: "inherit", detached: process.platform !== "win32" });
child.on("error", (error) => {
  console.error(`Cannot start ${bun}: ${error.message}`);
  process.exit(1);
});

let interruptedAt = Number.NEGATIVE_INFINITY;
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
  process.on(signal, () => {
    if (signal === "SIGINT") {
      const now = performance.now();
      if (now - interruptedAt < SAME_INTERRUPT_MS) return;
      interruptedAt = now;
    }
    try {
      process.kill(process.platform === "win32" ? child.pid : -child.pid, signal);
    } catch {
      // It has just ended: its exit is on the way.
    }
  });
}

child.on("exit", (status, signal) => {
  if (signal === null) process.exit(status);
  // The same end as the child's, so that a shell or a supervisor sees what happened to it.
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
