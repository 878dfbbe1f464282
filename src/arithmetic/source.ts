/**
 * Every record carries its source (one life of one node, for relations or for notes) and n = 1, 2, 3 … within it, without
 * gaps. Whoever applies records stores the last n of each source in the transaction that applies them; then the number
 * alone says whether a record has been applied, however often it is delivered and wherever the reader starts:
 *
 * - apply: the next one;
 * - skip: it has been decided (applied or refused), this is a repeat;
 * - gap: one before it has not come. Applying it would make that one a "repeat" for ever, so it must wait.
 */
type Decision = "apply" | "skip" | "gap";

/** `last`: the last n decided, 0 for a source never seen. */
export function decide(last: number, n: number): Decision {
  if (n === last + 1) return "apply";
  return n <= last ? "skip" : "gap";
}
