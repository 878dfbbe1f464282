/** Processes the bench has started; none may outlive it, however it ends. */
const running = new Set<Bun.Subprocess>();

/** Stops at once what is still running. */
function killAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** Starts a process that ends with this one at the latest. Its output is piped and must be read. */
export function startChild(command: readonly string[], options: { cwd?: string; env?: Record<string, string> } = {}) {
  const child = Bun.spawn([...command], { ...options, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  running.add(child);
  void child.exited.finally(() => running.delete(child));
  return child;
}

export type Child = ReturnType<typeof startChild>;

/** Runs a process to its end and gives its output; throws when it fails or takes longer than allowed. */
export async function runChild(command: readonly string[], options: { secondsMax: number }): Promise<string> {
  const child = startChild(command);
  const timer = setTimeout(() => child.kill("SIGKILL"), options.secondsMax * 1000);
  const [output, complaint] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  clearTimeout(timer);
  if (child.exitCode === 0) return output;
  const end =
    child.signalCode === "SIGKILL" ? `did not end within ${options.secondsMax} s` : `failed (${child.exitCode})`;
  throw new Error(`${command[0]} ${end}: ${complaint.trim().slice(-2000)}`);
}

/** Stops all at once and waits until they are gone. */
export async function endChildren(): Promise<void> {
  const ends = [...running].map((child) => child.exited);
  killAll();
  await Promise.all(ends);
}

/** Calls `clean` when the bench ends, whether it is done, fails or is interrupted; after all processes were stopped. */
export function atEnd(clean: () => void): void {
  process.on("exit", clean);
}

process.on("exit", killAll);
for (const [signal, number] of [
  ["SIGHUP", 1],
  ["SIGINT", 2],
  ["SIGTERM", 15],
] as const) {
  process.once(signal, () => process.exit(128 + number));
}
