import { EMBEDDED } from "../support/contract.ts";
import { wholeContract } from "./contract.suite.ts";
import { distinct } from "./distinct.suite.ts";

wholeContract(EMBEDDED);
distinct(EMBEDDED, { many: 100_000 });
