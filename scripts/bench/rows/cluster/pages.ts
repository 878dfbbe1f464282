import type { Row } from "../../row.ts";
import { measurePages } from "../pages.ts";

const PER_SECOND = 2_000;

/** The same pages from a node of a cluster. */
export const clusterPages: Row = {
  name: "pages",
  async measure(bench) {
    const stores = await bench.startStores();
    const node = await bench.startNode(stores);
    const finding = await measurePages(bench, node, { what: "cluster: a page", perSecond: PER_SECOND });
    await node.stop();
    return [finding];
  },
};
