import { describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inFolder } from "./support/server.ts";

const LAUNCHER = join(import.meta.dir, "../scripts/bun.mjs");
/** Says each signal it gets and ends at the second one, as the server does. */
const LISTENER = `
  let got = 0;
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
    process.on(signal, () => {
      console.log(signal);
      if (signal !== "SIGHUP" && ++got === 2) process.exit(9);
    });
  }
  process.stdin.on("data", () => process.exit(0)).resume();
  console.log("up");
`;

function launch(script: string) {
  const child = Bun.spawn(["node", LAUNCHER, "-e", script], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  return {
    child,
    /** What it has printed, once that ends with `text`. */
    async until(text: string): Promise<string> {
      while (!seen.endsWith(`${text}\n`)) {
        const { value, done } = await lines.read();
        if (done) break;
        seen += value;
      }
      return seen;
    },
  };
}

describe("scripts/bun.mjs", () => {
  test("runs the pinned Bun and ends with its status", async () => {
    const { child, until } = launch("console.log(Bun.version); process.exitCode = 78;");
    expect(await until(Bun.version)).toBe(`${Bun.version}\n`);
    expect(await child.exited).toBe(78);
  });

  test("needs no install script to have run", async () => {
    await inFolder(async (folder) => {
      mkdirSync(join(folder, "scripts"));
      mkdirSync(join(folder, "node_modules/bun/bin"), { recursive: true });
      copyFileSync(LAUNCHER, join(folder, "scripts/bun.mjs"));
      // What npm leaves of the package where its script is blocked.
      writeFileSync(join(folder, "node_modules/bun/bin/bun.exe"), "echo Error: Bun's postinstall script was not run.");
      const run = () => {
        const command = ["node", join(folder, "scripts/bun.mjs"), "-e", "console.log(Bun.version)"];
        const { exitCode, stdout, stderr } = Bun.spawnSync(command);
        return { exitCode, stdout: String(stdout), stderr: String(stderr) };
      };
      expect(run()).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining('run "npm ci"') });
      // The platform's own package, from which the script would have taken the binary away.
      const [platform = ""] = readdirSync(join(import.meta.dir, "../node_modules/@oven"));
      mkdirSync(join(folder, "node_modules/@oven", platform, "bin"), { recursive: true });
      symlinkSync(process.execPath, join(folder, "node_modules/@oven", platform, "bin/bun"));
      expect(run()).toEqual({ exitCode: 0, stdout: `${Bun.version}\n`, stderr: "" });
    });
  });

  test("ends by the signal that ended Bun", async () => {
    const { child } = launch("process.kill(process.pid, 'SIGKILL')");
    await child.exited;
    expect(child.signalCode).toBe("SIGKILL");
  });

  test("passes every signal on, a second one too", async () => {
    const { child, until } = launch(LISTENER);
    await until("up");
    for (const signal of ["SIGHUP", "SIGTERM"] as const) {
      child.kill(signal);
      await until(signal);
    }
    child.kill("SIGTERM");
    expect(await until("SIGTERM\nSIGTERM")).toBe("up\nSIGHUP\nSIGTERM\nSIGTERM\n");
    expect(await child.exited).toBe(9);
  });

  test("takes two interrupts at once for one, as Ctrl-C under npm sends two", async () => {
    const { child, until } = launch(LISTENER);
    await until("up");
    child.kill("SIGINT");
    await until("SIGINT");
    child.kill("SIGINT");
    child.kill("SIGHUP"); // comes after it
    expect(await until("SIGHUP")).toBe("up\nSIGINT\nSIGHUP\n");
    child.stdin.write("end");
    child.stdin.end();
    expect(await child.exited).toBe(0);
  });
});
