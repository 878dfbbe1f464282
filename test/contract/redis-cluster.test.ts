import { flagsFor } from "../../scripts/services/cluster.ts";
import { RedisCluster, sharedServices } from "../support/services.ts";
import { storedContract } from "./contract.suite.ts";

storedContract({
  name: "two nodes with Redis Cluster",
  nodes: 2,
  async open() {
    const [redis, stores] = await Promise.all([RedisCluster.start(), sharedServices()]);
    const { kafka, mysql, prefix } = stores;
    return {
      flags: [
        ...flagsFor({ redis: redis.url, kafka: kafka.brokers, mysql: mysql.url }),
        ...["--prefix", prefix, "--flush-ms", "50"],
      ],
      async stop() {
        await Promise.all([redis.close(), stores.stop()]);
      },
    };
  },
});
