// One Redis, one MariaDB and one Kafka until Ctrl-C, for whoever wants to try a cluster:
// `node scripts/bun.mjs scripts/services/main.ts`
import { startCluster } from "./cluster.ts";

const cluster = await startCluster();
console.log(`Redis    ${cluster.redis.url}`);
console.log(`MariaDB  ${cluster.mysql.url}`);
console.log(`Kafka    ${cluster.kafka.brokers}`);
console.log(`\ntally serve ${cluster.flags.join(" ")}`);
console.log("\nCtrl-C stops them and removes their data.");

let isStopping = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    if (isStopping) process.exit(1);
    isStopping = true;
    await cluster.stop();
    process.exit(0);
  });
}
