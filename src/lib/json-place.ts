const TOKEN =
  /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)|$)/uy;

/** What may come next. `item` also ends an array, `key` also an object: only right after they opened. */
type Expected = "value" | "item" | "key" | "name" | "colon" | "comma" | "end";

/**
 * Where a text stops being JSON: "line 1, column 7"; null where it is JSON. JSON.parse here names no place, so this
 * looks again, without recursion, once it has failed.
 */
export function jsonPlace(text: string): string | null {
  const open: string[] = [];
  let expected: Expected = "value";
  TOKEN.lastIndex = 0;
  for (;;) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) return place(text, start);
    const [, mark, string, other] = match;
    const isEnd = mark === undefined && string === undefined && other === undefined;
    if (isEnd) return expected === "end" ? null : place(text, start);
    const next: Expected | null = mark
      ? afterMark(expected, mark, open)
      : afterValue(expected, string !== undefined, open);
    if (next === null) return place(text, start);
    expected = next;
  }
}

function afterValue(expected: Expected, isString: boolean, open: string[]): Expected | null {
  if (expected === "key" || expected === "name") return isString ? "colon" : null;
  return expected === "value" || expected === "item" ? closed(open) : null;
}

function afterMark(expected: Expected, mark: string, open: string[]): Expected | null {
  if (mark === "{" || mark === "[") {
    if (expected !== "value" && expected !== "item") return null;
    open.push(mark);
    return mark === "{" ? "key" : "item";
  }
  if (mark === ":") return expected === "colon" ? "value" : null;
  if (mark === ",") return expected === "comma" ? (open.at(-1) === "{" ? "name" : "value") : null;
  const isEmpty = expected === (mark === "}" ? "key" : "item");
  if ((expected !== "comma" && !isEmpty) || open.at(-1) !== (mark === "}" ? "{" : "[")) return null;
  open.pop();
  return closed(open);
}

function closed(open: string[]): Expected {
  return open.length > 0 ? "comma" : "end";
}

function place(text: string, at: number): string {
  const start = at + (/^[ \t\n\r]*/.exec(text.slice(at))?.[0].length ?? 0);
  const lines = text.slice(0, start).split("\n");
  return `line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`;
}
