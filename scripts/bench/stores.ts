import { type Cluster, startCluster } from "../services/cluster.ts";
import { refuseMemory } from "./scratch.ts";

/** What a row's nodes and whoever they are compared with keep their data in. */
export type Stores = Cluster;

/** The settings of the stores, for the report: all that differs from how tests start them. */
export const STORE_SETTINGS = {
  /** A commit is on the disk; the data fit into memory, as they would on a server of their own. */
  mysql: { durable: true, args: ["--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M"] },
  kafka: { java: ["-XX:TieredStopAtLevel=4", "-Xmx1g"] },
} as const;

/** Starts them, each with an empty folder of its own. */
export async function startStores(): Promise<Stores> {
  const { mysql, kafka } = STORE_SETTINGS;
  const stores = await startCluster({
    mysql: { ...mysql, args: [...mysql.args] },
    kafka: { java: [...kafka.java] },
  });
  refuseMemory(stores.mysql.folder);
  return stores;
}
