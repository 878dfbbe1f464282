import { flagsFor } from "../../scripts/services/cluster.ts";
import { sharedServices, UpstashServer } from "../support/services.ts";
import { storedContract } from "./contract.suite.ts";

storedContract({
  name: "two nodes with Upstash's REST API",
  nodes: 2,
  async open() {
    const stores = await sharedServices();
    const { kafka, mysql, prefix } = stores;
    const upstash = await UpstashServer.start(stores.redis);
    return {
      flags: [
        ...flagsFor({ redis: upstash.url, kafka: kafka.brokers, mysql: mysql.url }),
        ...["--redis-token", upstash.token, "--prefix", prefix, "--flush-ms", "50"],
      ],
      async stop() {
        await upstash.close();
        await stores.stop();
      },
    };
  },
});
