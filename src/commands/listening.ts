import { lookup } from "node:dns/promises";
import { type Settings, SettingsError } from "../config.ts";
import { StartError } from "../errors.ts";

/**
 * Rejects where nobody can listen, or somebody has the port. The threads share it (SO_REUSEPORT), and then the system lets any other server of the
 * same user share it too: a second Tally would take half of the first one's requests, and nobody would be told. So it is
 * taken once by itself before, which fails whatever the others allow.
 */
export async function ownPort({ host, port }: Pick<Settings, "host" | "port">): Promise<void> {
  const alone = Bun.serve({ hostname: host, port, reusePort: false, fetch: () => new Response(null, { status: 503 }) });
  await alone.stop(true);
}

/** Why an address cannot be listened on, as a person can mend it. */
export async function cannotListen({ host, port }: Settings, error: unknown): Promise<unknown> {
  // First, because Bun gives a name that leads nowhere any code, such as that of a port that is taken.
  const failed = await lookup(host).then(
    () => null,
    ({ code }: NodeJS.ErrnoException) => code,
  );
  if (failed !== null) {
    const right = "must be an address of this machine, or a name that leads to one";
    return SettingsError.of("host", host, `${right}: it cannot be looked up (${failed})`);
  }
  const code = (error as { code?: string } | null)?.code;
  if (code === "EADDRINUSE")
    return new StartError(`port ${port} of ${host} is taken: stop who has it, or choose another with --port`);
  if (code === "EACCES")
    return new StartError(`port ${port} needs rights this user does not have: choose another with --port`);
  if (code === "EADDRNOTAVAIL")
    return new StartError(`${host} is no address of this machine: choose another with --host`);
  return error;
}
