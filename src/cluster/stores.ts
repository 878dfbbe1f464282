import type { Settings } from "../config.ts";
import { Webhooks } from "../webhooks/webhooks.ts";
import { FirstConnection } from "./first-connection.ts";
import type { LogData } from "./log-data.ts";
import type { AwayShare } from "./mysql/away-news.ts";
import { MysqlMilestoneBox } from "./mysql/milestone-box.ts";
import { type NoticeKind, NoticeRows } from "./mysql/notices.ts";
import { MysqlLedgerReader } from "./mysql/reads.ts";
import { Notice } from "./notice.ts";
import { NoticeNames } from "./notice-names.ts";
import { AgreedCopy } from "./redis/agreed-copy.ts";
import { RedisHotStore } from "./redis/hot-store.ts";
import { openDriver } from "./redis/open-driver.ts";
import { SharedVisitors } from "./redis/shared-visitors.ts";

/** The settings of a cluster, which has all three stores. */
export function storesOf({ redisUrl, redisToken, mysqlUrl, prefix }: Settings) {
  if (redisUrl === null || mysqlUrl === null) throw new Error("a cluster has all three stores");
  return { redisUrl, redisToken, mysqlUrl, prefix };
}

/** This thread's connection to Redis. It begins to connect at once, and goes on for ever. */
export function openHot(settings: Settings): RedisHotStore {
  return openRedis(settings).hot;
}

/** The same with what else is kept there; closing the hot store closes it. */
export function openRedis(settings: Settings): { hot: RedisHotStore; visitors: SharedVisitors; agreed: AgreedCopy } {
  const { prefix, ...stores } = storesOf(settings);
  const driver = new FirstConnection(openDriver(stores));
  return {
    hot: new RedisHotStore(driver, prefix),
    visitors: new SharedVisitors(driver, prefix),
    agreed: new AgreedCopy(driver, prefix),
  };
}

/** What any process of a cluster tells receivers of milestones, or null: which of them tells one, the ledger's rows decide. */
export function openWebhooks(settings: Settings): Webhooks | null {
  return Webhooks.open(settings.webhooks, () => new MysqlMilestoneBox(storesOf(settings).mysqlUrl));
}

/** This thread's connections to MySQL; `away`: what the threads of a node tell each other of it. */
export function openSharedLedger(settings: Settings, partitions: number, away?: AwayShare): MysqlLedgerReader {
  return new MysqlLedgerReader(storesOf(settings).mysqlUrl, { partitions, ...(away && { away }) });
}

/** The log thread's way to tell the other nodes of its acts, until `isEmpty`. */
export function openNotice(
  { settings, logFolder, mysqlAway }: LogData,
  kind: NoticeKind,
  isEmpty: () => boolean,
): Notice {
  const rows = new NoticeRows(storesOf(settings).mysqlUrl, kind, { away: { word: mysqlAway, isTeller: false } });
  return new Notice({ rows, names: new NoticeNames(logFolder, kind), isEmpty });
}
