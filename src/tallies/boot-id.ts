import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

/**
 * Names the current boot of the machine: pages of a mapped file outlive a process, but not a power cut.
 * Where the system has no such name, every call makes a new one, so that nothing unchecked is ever believed.
 */
export function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    if (process.platform !== "darwin") return randomUUID();
    const sysctl = Bun.spawnSync(["sysctl", "-n", "kern.bootsessionuuid"]);
    return (sysctl.success && sysctl.stdout.toString("latin1").trim()) || randomUUID();
  }
}
