import { Sketch } from "./sketch.ts";
import { ALL_TIME } from "./sketches.ts";

/**
 * What is wrong with a stored sketch, or null: that it is none, or, of a day's, that the one of all time lacks somebody.
 * Nothing else of sketches can be recounted.
 */
export function sketchProblem(
  day: number,
  sketch: Uint8Array,
  whole: Uint8Array | null,
): { expected: string; found: string } | null {
  const own = decoded(sketch);
  if (!own) return { expected: "a sketch", found: `${sketch.length} bytes that are none` };
  if (day === ALL_TIME) return null;
  const all = whole && decoded(whole);
  if (all && isWithin(own, all)) return null;
  const found = `${all?.count ?? "no"} visitors of all time, without all of that day's ${own.count}`;
  return { expected: "the day's visitors among those of all time", found };
}

/** Null where the bytes are none. */
export function decoded(bytes: Uint8Array): Sketch | null {
  try {
    return Sketch.decode(bytes);
  } catch {
    return null;
  }
}

function isWithin(part: Sketch, all: Sketch): boolean {
  if (part.isDense && !all.isDense) return false;
  for (const code of part.codes()) if (!all.has(code)) return false;
  return true;
}
