import { parseArgs } from "node:util";

/** What the command line says about a run. */
export interface Options {
  /** The rows of the cluster, with real stores, rather than those of one machine. */
  readonly cluster: boolean;
  /** Names of the rows to measure; all when empty. */
  readonly only: readonly string[];
  /** One side of one round. */
  readonly seconds: number;
  /** The durable likes run longer, so that the projector has to keep up. */
  readonly likesSeconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  /** Small data and short runs: shows that everything works, not how fast it is. */
  readonly quick: boolean;
  /** Run src/main.ts rather than the built executable. */
  readonly source: boolean;
  /** Make the kept data directories again. */
  readonly fresh: boolean;
  readonly help: boolean;
}

export const USAGE = `npm run bench -- [options]

  --cluster      the rows of the cluster, on a Redis, a MariaDB and a Kafka that it starts
  --only NAMES   rows to measure, separated by commas: views,likes,read,pages,lists,subjects,rows,rules,events,distinct,streams,top,start;
                 with --cluster: views,likes,pages,mysql,backlog,flush,memory,idle
  --seconds N    length of every run (default 10; durable likes 60)
  --rounds N     rounds, in which both sides take turns (default 3)
  --quick        small data and short runs: does it work, not how fast is it
  --source       run src/main.ts, not dist/tally (TALLY_BINARY names another executable)
  --fresh        make the data directories kept in .bench/data again
  --help`;

/** Throws with a message for the user when the arguments make no sense. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cluster: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      seconds: { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      source: { type: "boolean", default: false },
      fresh: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const seconds = positiveInteger("--seconds", values.seconds);
  const rounds = positiveInteger("--rounds", values.rounds);
  const usual = values.quick
    ? { seconds: 2, likesSeconds: 4, rounds: 1 }
    : { seconds: 10, likesSeconds: 60, rounds: 3 };
  return {
    cluster: values.cluster,
    only: values.only.split(",").filter((name) => name !== ""),
    seconds: seconds ?? usual.seconds,
    likesSeconds: seconds ?? usual.likesSeconds,
    warmupSeconds: values.quick ? 1 : 2,
    rounds: rounds ?? usual.rounds,
    quick: values.quick,
    source: values.source,
    fresh: values.fresh,
    help: values.help,
  };
}

function positiveInteger(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`${name} takes a whole number from 1 on, not "${text}"`);
  return value;
}
