/*
 * What of a visitor a sketch can keep: 64 bits of hash, of which 25 choose a place and the others say how rare it is, in
 * 31 bits.
 *
 *     hash   25 bits place | 39 bits rest
 *     code   25 bits place | 6 bits rank: the place of the first 1 in the rest (1–40), or 0 where nobody asks for it
 *
 * The dense sketch has 2^14 registers: the first 14 bits of the place choose one, and its rank is that of the other 11 and,
 * only where they are all 0, of the rest. That is HyperLogLog++'s encoding (Heule, Nunkesser, Hall: "HyperLogLog in
 * Practice", 2013, section 5.3), with the register's rank always made from the code when it is needed.
 */

/** The registers of a dense sketch are 2^PRECISION, the places of a sparse one 2^SPARSE_PRECISION. */
export const PRECISION = 14;
export const SPARSE_PRECISION = 25;

/** A visitor as a sketch sees him: 0 … 2^31−1. Two visitors with one code are one to it. */
export type Code = number;

const RANK_BITS = 6;
const RANK_MASK = (1 << RANK_BITS) - 1;
/** Bits of a place behind the register's number. */
const EXTRA = SPARSE_PRECISION - PRECISION;
const EXTRA_MASK = (1 << EXTRA) - 1;
/** The rest's bits in the hash's upper half. */
const UPPER = 32 - SPARSE_PRECISION;
const UPPER_MASK = (1 << UPPER) - 1;

/**
 * The code of a visitor. XXH64 stays what it is by its specification, which the ledger relies on: a visitor hashed otherwise
 * would count again. It is not keyed: who wants a larger number of visitors need only invent visitors.
 */
export function codeOf(visitor: string): Code {
  const hash = Bun.hash.xxHash64(visitor);
  return codeOfHash(Number(hash >> 32n), Number(hash & 0xffffffffn));
}

/** Of the two halves of a hash, each 0 … 2^32−1. */
export function codeOfHash(high: number, low: number): Code {
  const place = high >>> UPPER;
  if ((place & EXTRA_MASK) !== 0) return place << RANK_BITS;
  const upper = high & UPPER_MASK;
  const rank = upper !== 0 ? Math.clz32(upper) - (32 - UPPER) + 1 : UPPER + Math.clz32(low) + 1;
  return (place << RANK_BITS) | rank;
}

/** The place in a sparse sketch. */
export function placeOf(code: Code): number {
  return code >>> RANK_BITS;
}

/** The register of a dense sketch. */
export function registerOf(code: Code): number {
  return code >>> (EXTRA + RANK_BITS);
}

/** What the register is at least, having seen it: 1 … 51. */
export function rankOf(code: Code): number {
  const extra = (code >>> RANK_BITS) & EXTRA_MASK;
  return extra !== 0 ? Math.clz32(extra) - (32 - EXTRA) + 1 : EXTRA + (code & RANK_MASK);
}

/** A code that brings a register to this rank, so that a dense sketch can be told as codes. */
export function codeOfRegister(register: number, rank: number): Code {
  const place = register << EXTRA;
  return rank <= EXTRA ? (place | (1 << (EXTRA - rank))) << RANK_BITS : (place << RANK_BITS) | (rank - EXTRA);
}
