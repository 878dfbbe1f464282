import type { Settings } from "../config.ts";
import { StartError } from "../errors.ts";

/**
 * Rejects where somebody has the port. The threads share it (SO_REUSEPORT), and then the system lets any other server of the
 * same user share it too: a second Tally would take half of the first one's requests, and nobody would be told. So it is
 * taken once by itself before, which fails whatever the others allow.
 */
export async function ownPort({ host, port }: Pick<Settings, "host" | "port">): Promise<void> {
  if (port === 0) return;
  const alone = Bun.serve({ hostname: host, port, reusePort: false, fetch: () => new Response(null, { status: 503 }) });
  await alone.stop(true);
}

/** Why an address cannot be listened on, as a person can mend it. */
export function cannotListen({ host, port }: Settings, error: unknown): unknown {
  const code = (error as { code?: string } | null)?.code;
  if (code === "EADDRINUSE")
    return new StartError(`port ${port} of ${host} is taken: stop who has it, or choose another with --port`);
  if (code === "EACCES")
    return new StartError(`port ${port} needs rights this user does not have: choose another with --port`);
  if (code === "EADDRNOTAVAIL")
    return new StartError(`${host} is no address of this machine: choose another with --host`);
  return error;
}
