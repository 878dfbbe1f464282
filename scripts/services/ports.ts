import { readFileSync } from "node:fs";
import { createServer } from "node:net";

export const HOST = "127.0.0.1";
/** Below what services of a system use for themselves there is little room, and above what the kernel gives out. */
const LOWEST = 10_000;
const HIGHEST_DEFAULT = 32_767;

const given = new Set<number>();

/**
 * A loopback port that nobody listens on. It is none of those that the kernel gives to outgoing connections: while its
 * server is down one of them could take it, or a client that tries to reach it could be connected to itself.
 */
export async function freePort(): Promise<number> {
  const highest = Math.min(firstEphemeral() - 1, HIGHEST_DEFAULT);
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (highest - LOWEST + 1));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}

function firstEphemeral(): number {
  try {
    const first = Number.parseInt(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8"), 10);
    return first > LOWEST + 1_000 ? first : HIGHEST_DEFAULT + 1;
  } catch {
    return HIGHEST_DEFAULT + 1; // no Linux
  }
}

/** Whether nobody listens there. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen({ host: HOST, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
