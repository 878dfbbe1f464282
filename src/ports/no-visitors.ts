import type { Visitors } from "./visitors.ts";

/** For a process that counts nothing. */
export const NO_VISITORS: Visitors = { claim: () => null, nameToday: () => "" };
