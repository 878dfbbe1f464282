import { EMBEDDED } from "../support/contract.ts";
import { archive } from "./archive.suite.ts";

archive(EMBEDDED);
