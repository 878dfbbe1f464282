import { writeSync } from "node:fs";
import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import { LOG_LEVELS, type LogFormat, type LogLevel } from "../config/settings.ts";
import { clipped, type Fields, jsonLine, type Line, plainFields, prettyLine } from "./log-lines.ts";

/** One line for each call. A field called `error` that is an Error is shown with its message and stack. */
export interface Log {
  debug(msg: string, fields?: Fields): void;
  info(msg: string, fields?: Fields): void;
  warn(msg: string, fields?: Fields): void;
  error(msg: string, fields?: Fields): void;
  /** A line of `info` that programs wait for: written at any level. */
  always(msg: string, fields?: Fields): void;
  /** The same log; each line also has these fields. */
  child(fields: Fields): Log;
  /**
   * The same log, but only one line in `everyMs` for each key; that line says how many were `suppressed` before it.
   * Keys are few and fixed: the name of what fails, never an id.
   */
  limited(key: string, everyMs: number): Log;
}

export interface LogSetup {
  level: LogLevel;
  format: LogFormat;
  /** 1: stdout, 2: stderr. */
  fd: 1 | 2;
}

/** As threads get it: the level is a word of shared memory, its place in LOG_LEVELS. */
interface SharedSetup extends Omit<LogSetup, "level"> {
  level: Int32Array;
}

/** What a log writes to and reads the time from; another one in tests. */
interface LogOutput {
  write(line: string, fd: 1 | 2): void;
  now(): number;
}

const LIMITED_KEYS_MAX = 1000;

interface Limit {
  until: number;
  suppressed: number;
}

/** What all logs of a thread share. */
class Shared {
  readonly #limits = new Map<string, Limit>();
  readonly output: LogOutput;
  readonly setup: SharedSetup;

  constructor(output: LogOutput, setup: SharedSetup) {
    this.output = output;
    this.setup = setup;
  }

  set({ level, ...rest }: Partial<LogSetup>): void {
    Object.assign(this.setup, rest);
    if (level) Atomics.store(this.setup.level, 0, LOG_LEVELS.indexOf(level));
  }

  isOn(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) >= Atomics.load(this.setup.level, 0);
  }

  emit(line: Omit<Line, "time">): void {
    const timed = clipped({ time: this.output.now(), ...line, fields: plainFields(line.fields) });
    const isPretty = this.setup.format === "pretty";
    this.output.write(isPretty ? prettyLine(timed, this.setup.fd) : jsonLine(timed), this.setup.fd);
  }

  /** How many were suppressed since the last line, or null where this one has to be too. */
  pass(key: string, everyMs: number): number | null {
    const now = this.output.now();
    const limit = this.#limits.get(key);
    if (limit && now < limit.until) {
      limit.suppressed++;
      return null;
    }
    if (!limit && this.#limits.size >= LIMITED_KEYS_MAX) this.#limits.clear();
    this.#limits.set(key, { until: now + everyMs, suppressed: 0 });
    return limit?.suppressed ?? 0;
  }
}

class LogOf implements Log {
  readonly #shared: Shared;
  readonly #fields: Fields;
  readonly #limit: { key: string; everyMs: number } | undefined;

  constructor(shared: Shared, fields: Fields = {}, limit?: { key: string; everyMs: number }) {
    this.#shared = shared;
    this.#fields = fields;
    this.#limit = limit;
  }

  debug = (msg: string, fields?: Fields) => this.#log("debug", msg, fields);
  info = (msg: string, fields?: Fields) => this.#log("info", msg, fields);
  warn = (msg: string, fields?: Fields) => this.#log("warn", msg, fields);
  error = (msg: string, fields?: Fields) => this.#log("error", msg, fields);
  always = (msg: string, fields: Fields = {}) =>
    this.#shared.emit({ level: "info", msg, fields: { ...this.#fields, ...fields } });

  child(fields: Fields): Log {
    return new LogOf(this.#shared, { ...this.#fields, ...fields }, this.#limit);
  }

  limited(key: string, everyMs: number): Log {
    return new LogOf(this.#shared, this.#fields, { key, everyMs });
  }

  #log(level: LogLevel, msg: string, fields: Fields = {}): void {
    if (!this.#shared.isOn(level)) return;
    const suppressed = this.#limit ? this.#shared.pass(this.#limit.key, this.#limit.everyMs) : 0;
    if (suppressed === null) return;
    const count = suppressed > 0 ? { suppressed } : {};
    this.#shared.emit({ level, msg, fields: { ...this.#fields, ...fields, ...count } });
  }
}

export function createLog(
  output: LogOutput,
  setup: SharedSetup = firstSetup(),
): { log: Log; setUp(setup: Partial<LogSetup>): void } {
  const shared = new Shared(output, setup);
  return { log: new LogOf(shared), setUp: (changed) => shared.set(changed) };
}

function firstSetup(): SharedSetup {
  const level = new Int32Array(new SharedArrayBuffer(4)).fill(LOG_LEVELS.indexOf("info"));
  return { level, format: "json", fd: 1 };
}

const FULL_PIPE_WAIT_MS = 1;
const FULL_PIPE_TRIES = 100;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/**
 * One write for each line, and lines fit in PIPE_BUF (clipped): so those of several threads never mix, in a file, on a
 * terminal or in a pipe. Where stdout is a full pipe that does not block, a line waits 100 ms and is then given up: a
 * log that nobody takes must not stop the counting.
 */
function writeLine(line: string, fd: 1 | 2): void {
  for (let tries = 0; tries < FULL_PIPE_TRIES; tries++) {
    try {
      writeSync(fd, line);
      return;
    } catch (error) {
      // Closed or out of room: there is no place left to say it.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
      Atomics.wait(sleeper, 0, 0, FULL_PIPE_WAIT_MS);
    }
  }
}

const SETUP = "tally.log";
const setup = (getEnvironmentData(SETUP) as SharedSetup | undefined) ?? firstSetup();
const own = createLog({ write: writeLine, now: Date.now }, setup);

/** The log of this thread. */
export const log: Log = own.log;

/** Of all threads that begin after it; the level also of those that run. */
export function setUpLog(changed: Partial<LogSetup>): void {
  own.setUp(changed);
  setEnvironmentData(SETUP, setup);
}
