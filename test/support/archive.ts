import { join } from "node:path";
import type { Deployment } from "./contract.ts";
import { random } from "./random.ts";
import { inFolder, runTally, TALLY, TestServer } from "./server.ts";

/** Stores with a server on them, and the commands beside it. */
export class Site {
  readonly flags: string[];
  server: TestServer | null = null;
  readonly #folder: string;

  constructor(folder: string, flags: string[]) {
    this.#folder = folder;
    this.flags = [...flags, "--data", join(folder, "data")];
  }

  /** `fault`: where it dies, see ServerOptions. */
  async serve(fault?: string, ...args: string[]): Promise<TestServer> {
    const options = { data: join(this.#folder, "data"), args: [...this.flags, ...args] };
    this.server = await TestServer.start(fault === undefined ? options : { ...options, fault });
    return this.server;
  }

  run(...args: string[]) {
    return runTally([...args, ...this.flags]);
  }

  /** All data as text. */
  async export(): Promise<string> {
    const { status, stdout, stderr } = await this.run("export");
    if (status !== 0) throw new Error(`export ended with ${status}: ${stderr}`);
    return stdout;
  }

  /** What import said. Through a pipe. */
  async import(text: string | Uint8Array, ...args: string[]) {
    const child = this.importing(text, ...args);
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status: child.exitCode, stdout, stderr };
  }

  /** An import under way. */
  importing(text: string | Uint8Array, ...args: string[]) {
    return Bun.spawn([TALLY, "import", ...args, ...this.flags], {
      stdin: typeof text === "string" ? new TextEncoder().encode(text) : text,
      stdout: "pipe",
      stderr: "pipe",
      env: { PATH: process.env.PATH ?? "" },
    });
  }

  /** Names what differs between any two copies. */
  async verify(): Promise<string> {
    const { status, stdout, stderr } = await this.run("verify");
    return status === 0 ? "" : `${stdout}${stderr}`;
  }
}

/** So many empty sites of a deployment, for as long as `use` takes. */
export async function withSites(
  deployment: Deployment,
  count: 1 | 2,
  use: (first: Site, second: Site) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    const stores = await Promise.all(Array.from({ length: count }, () => deployment.open()));
    const sites = stores.map(({ flags }, i) => new Site(join(folder, String(i)), flags));
    try {
      await use(sites[0] as Site, sites.at(-1) as Site);
    } finally {
      await Promise.all(sites.map(({ server }) => server?.kill()));
      await Promise.all(stores.map((each) => each.stop()));
    }
  });
}

const MINUTES = 60_000;

/** Lines that an import takes, and what they come to. */
export function manyLines(count: number, seed: number) {
  const { below, chance } = random(seed);
  const lines: string[] = [];
  const views = new Map<string, number>();
  const likes = new Map<string, { at: number; active: boolean }>();
  for (let i = 0; i < count; i++) {
    const subject = `article/i${below(500)}`;
    const at = Date.UTC(2015, 0, 1) + below(2_000_000) * MINUTES;
    const time = new Date(at).toISOString();
    if (chance(0.5)) {
      const by = 1 + below(1_000);
      views.set(subject, (views.get(subject) ?? 0) + by);
      lines.push(JSON.stringify({ metric: "views", subject, by, at: time }));
      continue;
    }
    const actor = `u${below(400)}`;
    const active = chance(0.7);
    const before = likes.get(`${subject} ${actor}`);
    // Of one millisecond the active one stays.
    if (!before || at > before.at || (at === before.at && active)) likes.set(`${subject} ${actor}`, { at, active });
    lines.push(JSON.stringify({ metric: "likes", subject, actor, active, at: time }));
  }
  const counts = new Map([...views].map(([subject, count]) => [subject, { views: count, likes: 0 }]));
  for (const [name, { active }] of likes) {
    const subject = name.split(" ")[0] as string;
    const count = counts.get(subject) ?? { views: 0, likes: 0 };
    if (active) count.likes++;
    counts.set(subject, count);
  }
  return { text: `${lines.join("\n")}\n`, counts };
}
