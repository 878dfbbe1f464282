import { BunDriver } from "./bun-driver.ts";
import { ClusterDriver } from "./cluster-driver.ts";
import type { Driver } from "./driver.ts";
import { RestDriver } from "./rest-driver.ts";

/** The driver for a `redisUrl` that the settings have accepted. It begins to connect at once. */
export function openDriver({ redisUrl, redisToken }: { redisUrl: string; redisToken: string | null }): Driver {
  if (redisUrl.startsWith("redis+cluster://")) return new ClusterDriver(redisUrl);
  if (/^https?:/.test(redisUrl)) return new RestDriver(redisUrl, redisToken ?? "");
  return new BunDriver(redisUrl);
}
