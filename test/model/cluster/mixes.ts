import type { Mix } from "./state.ts";

/** What goes wrong in a schedule, and what the clients do. */
export const MIXES = {
  calm: { projectors: 2 },
  kills: { projectors: 2, kill: true, timeouts: true },
  redis: { projectors: 2, timeouts: true, lose: true, redisAway: true },
  kafka: { projectors: 1, timeouts: true, kafkaAway: true, power: true, kill: true, ledgerAway: true },
  gaps: { projectors: 2, kafkaLoses: true, kill: true, timeouts: true },
  stores: { projectors: 1, timeouts: true, redisAway: true, kafkaAway: true, ledgerAway: true, lose: true, kill: true },
  tallies: {
    projectors: 1,
    timeouts: true,
    redisAway: true,
    kill: true,
    ledgerAway: true,
    acts: 0,
    keys: 0,
    tallies: 24,
  },
  keys: { projectors: 2, timeouts: true, lose: true, acts: 0, tallies: 1, keys: 12 },
  acts: { projectors: 2, lose: true, acts: 14, tallies: 0, keys: 0 },
  /** One loss of Redis close behind the other. */
  losses: { projectors: 1, lose: true, hasty: true, acts: 8, tallies: 2, keys: 0 },
  /** The log and Redis lose data. */
  ruin: { projectors: 2, kafkaLoses: true, lose: true, kill: true, timeouts: true },
  /** Redis loses what is in a spool alone. */
  spools: { projectors: 2, lose: true, kill: true, kafkaAway: true, cuts: true, timeouts: true, acts: 8, tallies: 2 },
  /** One node alone is cut off from Redis. */
  blind: { projectors: 1, blind: true, kill: true, kafkaAway: true, timeouts: true, acts: 12, tallies: 2, keys: 0 },
  power: { projectors: 1, power: true, timeouts: true, kafkaAway: true, redisAway: true },
  retired: {
    projectors: 2,
    retires: true,
    lose: true,
    kill: true,
    timeouts: true,
    tallies: 30,
    acts: 4,
  },
} as const satisfies Record<string, Mix>;
export type MixName = keyof typeof MIXES;
