import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MIB = 2 ** 20;
/** A shared memory folder as large as that is no small disk: filling it would take the machine's memory. */
const SHM_BYTES_MAX = 256 * MIB;

/** A file system that a test may fill to its last byte. */
export interface SmallDisk {
  folder: string;
  /** Where a server finds it that is run by `via`. */
  inside: string;
  via: string[];
  /** Takes all the room there is. */
  fill(): void;
  /** Gives it back. */
  free(): void;
  /** Nothing can be written any more; false where this disk cannot be made so. */
  makeReadOnly(): Promise<boolean>;
  remove(): Promise<void>;
}

/**
 * By the first way that works: a tmpfs mounted as root; one mounted by anybody in a namespace of its own, reached through
 * the process that keeps it; the small /dev/shm that a container has. Throws where there is none: never leaves a test out.
 */
export async function smallDisk(mib: number): Promise<SmallDisk> {
  return (await mounted(mib)) ?? (await inNamespace(mib)) ?? sharedMemory();
}

async function mounted(mib: number): Promise<SmallDisk | null> {
  const folder = mkdtempSync(join(tmpdir(), "tally-disk-"));
  if (!(await runs("mount", "-t", "tmpfs", "-o", `size=${mib}m`, "tmpfs", folder))) {
    rmSync(folder, { recursive: true });
    return null;
  }
  return {
    ...ballast(folder),
    inside: folder,
    via: [],
    makeReadOnly: () => runs("mount", "-o", "remount,ro", folder),
    async remove() {
      // What a server had mapped may be let go a moment later.
      for (let tries = 0; tries < 50 && !(await runs("umount", folder)); tries++) await Bun.sleep(20);
      rmSync(folder, { recursive: true });
    },
  };
}

async function inNamespace(mib: number): Promise<SmallDisk | null> {
  if (Bun.which("unshare") === null) return null;
  const outside = mkdtempSync(join(tmpdir(), "tally-disk-"));
  const script =
    'mount -t tmpfs -o "size=$1m" tmpfs "$0" && echo there && read -r _ && mount -o remount,ro "$0" && echo done && read -r _';
  const keeper = Bun.spawn(["unshare", "-rm", "sh", "-c", script, outside, String(mib)], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
  });
  const output = keeper.stdout.getReader();
  const says = async (word: string) => new TextDecoder().decode((await output.read()).value).includes(word);
  if (!(await says("there"))) {
    rmSync(outside, { recursive: true });
    return null;
  }
  return {
    // SQLite follows the link that /proc has there to where it says, not to where it goes: servers go inside.
    ...ballast(join(`/proc/${keeper.pid}/root`, outside)),
    inside: outside,
    via: ["nsenter", "-t", String(keeper.pid), "-U", "-m", "--preserve-credentials"],
    makeReadOnly() {
      keeper.stdin.write("\n");
      keeper.stdin.flush();
      return says("done");
    },
    async remove() {
      keeper.kill("SIGKILL");
      await keeper.exited;
      rmSync(outside, { recursive: true });
    },
  };
}

function sharedMemory(): SmallDisk {
  const { blocks, bsize } = statfsSync("/dev/shm");
  if (blocks * bsize > SHM_BYTES_MAX) {
    throw new Error(
      "these tests fill a disk: run them as root, or where unshare may mount, or with a /dev/shm of 64 MB",
    );
  }
  const folder = mkdtempSync("/dev/shm/tally-disk-");
  return {
    ...ballast(folder),
    inside: folder,
    via: [],
    makeReadOnly: () => Promise.resolve(false),
    async remove() {
      rmSync(folder, { recursive: true });
    },
  };
}

function ballast(folder: string): Pick<SmallDisk, "folder" | "fill" | "free"> {
  const path = join(folder, "ballast");
  return {
    folder,
    fill() {
      const fd = openSync(path, "a");
      for (let bytes = MIB; bytes >= 1; bytes = Math.floor(bytes / 2)) {
        const zeros = Buffer.alloc(bytes);
        try {
          while (writeSync(fd, zeros) === bytes);
        } catch (error) {
          if ((error as { code?: string }).code !== "ENOSPC") throw error;
        }
      }
      closeSync(fd);
    },
    free: () => unlinkSync(path),
  };
}

async function runs(...command: string[]): Promise<boolean> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  return (await child.exited) === 0;
}
