/** What kafkajs hides: the protocol's name of an error, below its wrappers and in its collections. */
export function errorType(error: unknown): string | null {
  for (let each: unknown = error, depth = 0; each instanceof Error && depth < 5; depth++) {
    const { type, errors, cause } = each as Error & { type?: unknown; errors?: unknown };
    if (typeof type === "string") return type;
    each = Array.isArray(errors) ? errors[0] : cause;
  }
  return null;
}

/** One line for people. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
