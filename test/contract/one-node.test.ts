import { sharedServices } from "../support/services.ts";
import { wholeContract } from "./contract.suite.ts";

wholeContract({ name: "a cluster of one node", nodes: 1, open: sharedServices });
