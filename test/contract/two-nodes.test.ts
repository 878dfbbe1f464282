import { sharedServices } from "../support/services.ts";
import { wholeContract } from "./contract.suite.ts";

wholeContract({
  name: "a cluster of two nodes",
  nodes: 2,
  async open() {
    const stores = await sharedServices();
    // Every event of a tally is waited for on the other node.
    return { flags: [...stores.flags, "--flush-ms", "50"], stop: stores.stop };
  },
});
