// A member of the projectors' group in a process of its own: `brokers prefix ledger.sqlite`. Its ledger is a file that
// all members share; like the real one it takes only the next number, and stores positions in the same transaction.
// Says `reading [partitions]` on stdout each time it was given some.
import { Database } from "bun:sqlite";
import { numberOf, settingsFor, startConsumer } from "./kafka-support.ts";

const [brokers = "", prefix = "", path = ""] = process.argv.slice(2);
const db = new Database(path);
db.run("PRAGMA busy_timeout = 5000");

const apply = db.transaction((rows: [partition: number, n: number][], positions: Map<number, number>) => {
  for (const [partition, n] of rows) {
    const { last } = db.query("SELECT coalesce(max(n), 0) AS last FROM applied WHERE shard = ?").get(partition) as {
      last: number;
    };
    if (n <= last) db.run("UPDATE seen SET again = again + 1");
    else db.run("INSERT INTO applied VALUES (?, ?, ?, ?)", [partition, n, n === last + 1 ? 0 : 1, process.pid]);
  }
  for (const [partition, position] of positions) db.run("REPLACE INTO positions VALUES (?, ?)", [partition, position]);
});

let last = "";
const consumer = startConsumer(settingsFor(brokers, prefix), {
  positions: async () => {
    const rows = db.query("SELECT partition, position FROM positions").all() as {
      partition: number;
      position: number;
    }[];
    return new Map(rows.map(({ partition, position }) => [partition, position]));
  },
  apply: async (messages, positions) => {
    apply.immediate(
      messages.map((message) => [message.partition, numberOf(message)]),
      positions,
    );
  },
  alert: (alert) => console.log(`alert ${JSON.stringify(alert)}`),
});

setInterval(() => {
  const now = `reading ${JSON.stringify(consumer.partitions.sort((a, b) => a - b))}`;
  if (now !== last) console.log(now);
  last = now;
}, 20);
