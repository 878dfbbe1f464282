/** Real servers for tests: see scripts/services/. */
export { type Cluster, type ClusterOptions, startCluster, type Ways } from "../../scripts/services/cluster.ts";
export { KAFKA_USER, KafkaServer } from "../../scripts/services/kafka.ts";
export { MysqlServer } from "../../scripts/services/mysql.ts";
export { freePort } from "../../scripts/services/ports.ts";
export { TcpProxy } from "../../scripts/services/proxy.ts";
export { type RedisOptions, RedisServer } from "../../scripts/services/redis.ts";
export { RedisCluster } from "../../scripts/services/redis-cluster.ts";
export type { Snapshot, StartOptions } from "../../scripts/services/server.ts";
export { type SharedServices, sharedServices } from "../../scripts/services/shared.ts";
export { type Authority, makeAuthority } from "../../scripts/services/tls.ts";
export { UpstashServer } from "../../scripts/services/upstash.ts";
