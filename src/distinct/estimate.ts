import { PRECISION, SPARSE_PRECISION } from "./code.ts";

const REGISTERS = 1 << PRECISION;
/** The highest rank is one more: all bits behind the register's number are 0. */
const BITS = 64 - PRECISION;
const PLACES = 2 ** SPARSE_PRECISION;

/**
 * How many were seen by a dense sketch: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
 * (2017, arXiv:1702.01284), algorithm 6, the improved raw estimator. Its standard error is 1.04/√registers = 0.81 % at
 * any number, with no table of corrections and no place where one formula gives way to another. Redis uses it too.
 */
export function estimateDense(registers: Uint8Array): number {
  const found = new Float64Array(BITS + 2);
  for (let i = 0; i < REGISTERS; i++) (found[registers[i] as number] as number)++;
  let z = REGISTERS * tau(1 - (found[BITS + 1] as number) / REGISTERS);
  for (let rank = BITS; rank >= 1; rank--) z = (z + (found[rank] as number)) / 2;
  z += REGISTERS * sigma((found[0] as number) / REGISTERS);
  return (REGISTERS * REGISTERS) / (2 * Math.LN2 * z);
}

/** Linear counting of taken places: of 3,000 visitors on average 0.13 share a place, and that is made good too. */
export function estimateSparse(taken: number): number {
  return PLACES * -Math.log1p(-taken / PLACES);
}

function sigma(portion: number): number {
  if (portion === 1) return Number.POSITIVE_INFINITY;
  let x = portion;
  let y = 1;
  let z = x;
  for (let before = -1; z !== before; y *= 2) {
    x *= x;
    before = z;
    z += x * y;
  }
  return z;
}

function tau(portion: number): number {
  if (portion === 0 || portion === 1) return 0;
  let x = portion;
  let y = 1;
  let z = 1 - x;
  for (let before = -1; z !== before; ) {
    x = Math.sqrt(x);
    before = z;
    y /= 2;
    z -= (1 - x) ** 2 * y;
  }
  return z / 3;
}
