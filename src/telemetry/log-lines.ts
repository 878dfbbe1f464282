import { isatty } from "node:tty";
import type { LogLevel } from "../config/settings.ts";

export type Fields = Record<string, unknown>;

export interface Line {
  /** Milliseconds since 1970. */
  time: number;
  level: LogLevel;
  msg: string;
  fields: Fields;
}

/** Linux's PIPE_BUF: a write up to it is never mixed with another's. */
export const LINE_BYTES_MAX = 4096;
const CLIPPED_CHARS = [1000, 200, 40];

/** The fields as JSON can hold them: errors with message and stack, big integers as text, no cycles. */
export function plainFields(fields: Fields): Fields {
  const plain: Fields = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) plain[name] = plainValue(value);
  }
  return plain;
}

function plainValue(value: unknown): unknown {
  if (value instanceof Error) return plainError(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return value;
  try {
    return JSON.parse(JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part)));
  } catch {
    return String(value);
  }
}

function plainError(error: Error): Fields {
  const { code } = error as NodeJS.ErrnoException;
  const cause = error.cause instanceof Error ? { cause: error.cause.message } : {};
  return { message: error.message, ...(code === undefined ? {} : { code }), ...cause, stack: error.stack ?? "" };
}

/** The same line, cut where it would be longer than one write may be. */
export function clipped(line: Line): Line {
  if (Buffer.byteLength(jsonLine(line)) <= LINE_BYTES_MAX) return line;
  for (const chars of CLIPPED_CHARS) {
    const shorter = { ...line, msg: cut(line.msg, chars), fields: { ...cutAll(line.fields, chars), clipped: true } };
    if (Buffer.byteLength(jsonLine(shorter)) <= LINE_BYTES_MAX) return shorter;
  }
  return { ...line, msg: cut(line.msg, CLIPPED_CHARS.at(-1) ?? 0), fields: { clipped: true } };
}

function cutAll(fields: Fields, chars: number): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (typeof value === "string") return [name, cut(value, chars)];
      if (typeof value !== "object" || value === null) return [name, value];
      return [name, name === "error" ? cutAll(value as Fields, chars) : cut(JSON.stringify(value), chars)];
    }),
  );
}

function cut(text: string, chars: number): string {
  return text.length > chars ? `${text.slice(0, chars)}…` : text;
}

export function jsonLine({ time, level, msg, fields }: Line): string {
  return `${JSON.stringify({ time: new Date(time).toISOString(), level, msg, ...fields })}\n`;
}

const COLORS: Record<LogLevel, string> = { debug: "\x1b[2m", info: "\x1b[32m", warn: "\x1b[33m", error: "\x1b[31m" };

export function prettyLine({ time, level, msg, fields }: Line, fd: 1 | 2): string {
  const paint = (color: string, text: string) =>
    isatty(fd) && !process.env.NO_COLOR ? `${color}${text}\x1b[0m` : text;
  const parts: string[] = [];
  let stack = "";
  for (const [name, value] of Object.entries(fields)) {
    if (name === "error" && typeof value === "object" && value !== null) {
      const { message, stack: itsStack } = value as { message?: string; stack?: string };
      parts.push(`error=${JSON.stringify(message)}`);
      if (itsStack) stack = `\n${itsStack}`;
    } else
      parts.push(`${name}=${typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`);
  }
  const clock = new Date(time).toISOString().slice(11, 23);
  const tail = parts.length > 0 ? ` ${paint("\x1b[2m", parts.join(" "))}` : "";
  return `${paint("\x1b[2m", clock)} ${paint(COLORS[level], level.padEnd(5))} ${msg.replace(/\p{Cc}/gu, " ")}${tail}${stack}\n`;
}
