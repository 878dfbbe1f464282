import { join } from "node:path";
import type { Deployment } from "./contract.ts";
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

  async serve(args: string[] = []): Promise<TestServer> {
    this.server = await TestServer.start({ data: join(this.#folder, "data"), args: [...this.flags, ...args] });
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
