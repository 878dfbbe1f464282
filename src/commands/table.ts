import type { Arguments, CommandOptions } from "../config/arguments.ts";
import type { Settings } from "../config/settings.ts";

/** What a command was told beside the settings. */
export type CommandArgs = Pick<Arguments, "words" | "options">;

interface CommandContext {
  args: CommandArgs;
  /** Reads the settings and sets up the log; throws what is wrong with them. */
  settings(): Settings;
}

interface Command {
  summary: string;
  /** What `tally help <command>` says beyond it. */
  more?: string;
  /** Words after the command, as the usage line shows them. */
  words?: string;
  options?: CommandOptions;
  /** It lets others in: protected mode holds, and its log is its output. */
  listens?: true;
  /** The exit status. Undefined: not in this version yet. Imports are literal, so that the executable carries them. */
  run?(context: CommandContext): Promise<number>;
}

const COMMANDS = {
  serve: {
    summary: "the server (default)",
    more: "SIGTERM finishes the requests under way, flushes and ends; SIGHUP reads the settings file again.",
    listens: true,
    run: async ({ settings }) => (await import("./serve.ts")).run(settings()),
  },
  consume: {
    summary: "only the projector, for clusters that run it apart",
    more:
      "The servers then run with --no-consumer. Has /healthz, /readyz and /metrics on --port, and no data directory. " +
      "Signals are as for serve.",
    listens: true,
    run: async ({ settings }) => (await import("./consume.ts")).run(settings()),
  },
  migrate: {
    summary: "bring the schema up to date and exit",
    more: "A server does it by itself unless --no-migrate.",
    run: async ({ settings }) => (await import("./migrate.ts")).run(settings()),
  },
  verify: {
    summary: "recount everything, compare every copy; exit 1 on a difference",
    more: "Works beside a running server. Says each difference with its key.",
    options: { repair: { type: "boolean", doc: "mend what differs" } },
    run: async ({ settings, args }) => (await import("./verify.ts")).run(settings(), args),
  },
  export: {
    summary: "all data as NDJSON on stdout",
    more: "Works beside a running server, and is what it was at one moment. docs/export.md has the format.",
    run: async ({ settings }) => (await import("./export.ts")).run(settings()),
  },
  import: {
    summary: "data from a file or stdin: an export, events as NDJSON, or a table",
    more:
      "Works beside a running server. Everything is checked before anything is done: lines that are not right are named " +
      "(exit 65). What was imported before is left out, so after an interruption the same command goes on. " +
      "docs/export.md has the formats.",
    words: "[file]",
    options: {
      csv: { type: "boolean", doc: "it is a table (CSV)" },
      map: { type: "string", doc: "what its columns are: 'metric=views subject=article/{post_id} count={views}'" },
      delimiter: { type: "string", doc: "what is between its columns: a character, or tab [comma]" },
      headless: { type: "boolean", doc: "its first row is data; columns are {1}, {2} …" },
      at: { type: "string", doc: "the time of lines that have none [2000-01-01T00:00:00Z]" },
    },
    run: async ({ settings, args }) => (await import("./import.ts")).run(settings, args),
  },
  key: {
    summary: "API keys",
    words: "create|list|revoke",
    options: {
      role: { type: "string", doc: "read, count, write or admin" },
      name: { type: "string", doc: "what it is for" },
    },
  },
  version: {
    summary: "which version this is",
    run: async () => (await import("./version.ts")).run(),
  },
  help: {
    summary: "this page, or one command's",
    words: "[command]",
    run: async ({ args }) => (await import("./help.ts")).run(args),
  },
} satisfies Record<string, Command>;

export type CommandName = keyof typeof COMMANDS;
export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];

export function commandOf(name: CommandName): Command {
  return COMMANDS[name];
}

export function isCommand(word: string): word is CommandName {
  return Object.hasOwn(COMMANDS, word);
}
