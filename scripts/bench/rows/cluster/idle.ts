import { atMost } from "../../finding.ts";
import { cpuSecondsOf } from "../../process.ts";
import type { Row } from "../../row.ts";

const SUBJECTS = 1_000;
const SECONDS = { full: 20, quick: 5 };
/** After the last request, until what it left to tidy up and to translate is done. */
const REST_SECONDS = { full: 10, quick: 2 };

/** What a node takes of one processor core while nobody asks it anything. */
export const idle: Row = {
  name: "idle",
  async measure(bench) {
    const seconds = bench.size(SECONDS.full, SECONDS);
    const stores = await bench.startStores();
    const node = await bench.startNode(stores);
    await bench.fill(node, { kind: "views", subjects: SUBJECTS, digits: 4 });
    await Bun.sleep(bench.size(REST_SECONDS.full, REST_SECONDS) * 1000);
    const pids = { node: node.pid, redis: stores.redis.pid, mysql: stores.mysql.pid, kafka: stores.kafka.pid };
    const used = () => Object.entries(pids).map(([name, pid]) => [name, cpuSecondsOf(pid)] as const);
    const before = new Map(used());
    const beganMs = performance.now();
    await Bun.sleep(seconds * 1000);
    const passed = (performance.now() - beganMs) / 1000;
    const percent = Object.fromEntries(
      used().map(([name, now]) => [name, (100 * (now - (before.get(name) ?? 0))) / passed]),
    );
    await node.stop();
    return [
      {
        what: `cluster: processor time of an idle node, ${seconds} s`,
        goals: [atMost("of a core", 2, "%", percent.node ?? Number.NaN)],
        facts: { percent },
      },
    ];
  },
};
