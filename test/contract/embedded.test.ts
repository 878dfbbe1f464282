import { EMBEDDED } from "../support/contract.ts";
import { wholeContract } from "./contract.suite.ts";

wholeContract(EMBEDDED);
