import { type Code, PRECISION, placeOf, registerOf, SPARSE_PRECISION } from "../distinct/code.ts";
import { type Sketch, SPARSE_MAX } from "../distinct/sketch.ts";

const EXTRA = SPARSE_PRECISION - PRECISION;
/** Of a register's places the upper half say least: rank 1. */
const HALF = 1 << (EXTRA - 1);

/**
 * Visitors who make an empty sketch the same as this one, to the byte. A dense one becomes dense only with so many places, and
 * may tell fewer registers than that; so some more places of these registers are added, of a rank that each has anyway.
 */
export function codesOf(sketch: Sketch): Code[] {
  const codes = [...sketch.codes()];
  if (!sketch.isDense) return codes;
  const places = new Set(codes.map(placeOf));
  const registers = [...new Set(codes.map(registerOf))];
  for (let low = 0; low < HALF && places.size <= SPARSE_MAX; low++) {
    for (const register of registers) {
      const place = register * 2 ** EXTRA + HALF + low;
      if (places.has(place) || places.size > SPARSE_MAX) continue;
      places.add(place);
      codes.push(place * 2 ** (31 - SPARSE_PRECISION));
    }
  }
  return codes;
}
