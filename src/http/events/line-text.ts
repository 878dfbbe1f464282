import { Problem } from "../../errors.ts";

const RETURN = 0x0d;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The line in `bytes[from, to)`, which ends with a newline, without it; empty where it holds only blanks. */
export function lineText(bytes: Uint8Array, from: number, to: number): string {
  const end = bytes[to - 2] === RETURN && to - 2 >= from ? to - 2 : to - 1;
  let text: string;
  try {
    text = decoder.decode(bytes.subarray(from, end));
  } catch {
    throw new Problem("bad-input", "the line is not valid UTF-8");
  }
  return BLANK.test(text) ? "" : text;
}

const BLANK = /^[ \t\ufeff]*$/;
