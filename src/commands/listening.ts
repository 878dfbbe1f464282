import type { Settings } from "../config.ts";
import { StartError } from "../errors.ts";

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
