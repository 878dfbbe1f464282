import { DrizzleQueryError } from "drizzle-orm/errors";
import { type Connection, type ConnectionOptions, createConnection } from "mysql2";
import { tlsOfMysql } from "../../config/mysql-tls.ts";
import { LedgerUnavailable } from "../../ports/ledger.ts";

/** A row as the driver gives it: columns in order. */
export type Row = readonly (number | string | Buffer | null)[];

export interface Written {
  affectedRows: number;
}

export interface Deadlines {
  connectMs: number;
  queryMs: number;
  /**
   * How long the server keeps a connection on which nothing is asked. Where the network loses one in the middle of a
   * transaction, the server learns of it by this alone, and until then nobody else has the transaction's locks.
   */
  idleS?: number;
}

const IDLE_S = 600;

/** For what no request waits for: a commit may have to wait for another's locks. */
export const PATIENT: Deadlines = { connectMs: 5_000, queryMs: 30_000, idleS: 60 };
/** How long a statement waits for another transaction's locks before it is tried again as a whole. */
const LOCK_WAIT_S = 5;

const SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/**
 * One connection to the ledger's server, with a deadline for each answer. Whoever gets `LedgerUnavailable` from it, but
 * not because of a lock, must not use it again: what it had under way may still come.
 */
export class LedgerConnection {
  readonly #connection: Connection;
  readonly #queryMs: number;
  /** What is under way: the driver forgets it when the connection is destroyed. */
  readonly #underWay = new Set<(error: Error) => void>();
  #isOpen = true;

  private constructor(connection: Connection, queryMs: number) {
    this.#connection = connection;
    this.#queryMs = queryMs;
    // While nothing is asked, only this says that the server has gone.
    connection.on("error", () => this.close());
    connection.on("end", () => this.close());
  }

  /**
   * `autocommit` false: everything belongs to a transaction until COMMIT, also after an error has ended the one before.
   */
  static async open(url: string, deadlines: Deadlines, autocommit = true): Promise<LedgerConnection> {
    const connection = createConnection(optionsOf(url, deadlines.connectMs));
    try {
      await settled(deadlines.connectMs, (done) => connection.connect((error) => done(error)));
      const opened = new LedgerConnection(connection, deadlines.queryMs);
      await opened.ask(
        `SET SESSION sql_mode = '${SQL_MODE}', time_zone = '+00:00', innodb_lock_wait_timeout = ${LOCK_WAIT_S},
         wait_timeout = ${deadlines.idleS ?? IDLE_S}, autocommit = ${autocommit ? 1 : 0}`,
      );
      // For the writer: it reads what is committed now, under the locks it has, and locks no gaps.
      await opened.ask("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
      return opened;
    } catch (error) {
      connection.destroy();
      throw asUnavailable(error);
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** For drizzle. */
  get client(): Connection {
    return this.#connection;
  }

  /** Rows of a SELECT. */
  ask(sql: string, timeoutMs = this.#queryMs): Promise<Row[]> {
    return this.#query(sql, timeoutMs) as Promise<Row[]>;
  }

  async write(sql: string, timeoutMs = this.#queryMs): Promise<Written> {
    return (await this.#query(sql, timeoutMs)) as Written;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#connection.destroy();
    const gone = Object.assign(new Error("the connection is gone"), { code: "ECONNABORTED" });
    for (const reject of this.#underWay) reject(gone);
    this.#underWay.clear();
  }

  #query(sql: string, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#underWay.add(reject);
      this.#connection.query({ sql, rowsAsArray: true, timeout: timeoutMs }, (error, result) => {
        this.#underWay.delete(reject);
        if (error === null || error === undefined) {
          resolve(result);
          return;
        }
        // Its statement may be a megabyte, and hold what no log should.
        Reflect.deleteProperty(error, "sql");
        // One that did not answer in time may do so when the next one is asked.
        reject(error);
        if (!isAnswer(error)) this.close();
      });
    });
  }
}

/** What every connection of ours has in common. */
function optionsOf(url: string, connectMs: number): ConnectionOptions {
  const tls = tlsOfMysql(new URL(url));
  return {
    uri: url,
    ...(tls && { ssl: tls }),
    connectTimeout: connectMs,
    charset: "utf8mb4_bin",
    timezone: "Z",
    // Beyond 2^53 they come as text, which nothing here stores.
    supportBigNumbers: true,
    decimalNumbers: true,
    enableKeepAlive: true,
    multipleStatements: false,
  };
}

/** The driver's own deadline does not cover a server that takes the connection and says nothing. */
function settled(ms: number, begin: (done: (error: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(Object.assign(new Error("no greeting in time"), { code: "ETIMEDOUT" })), ms);
    begin((error) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Below are the system's, which are negative, and those of who looks up names. */
const NUMBER_MIN = 1_000;

/** The server's number for what went wrong, 0 where it was not the server who said so. */
function numberOf(error: unknown): number {
  const { errno } = error as { errno?: number };
  return typeof errno === "number" && errno >= NUMBER_MIN ? errno : 0;
}

/** The server has answered, with a refusal; the connection is as good as before. */
function isAnswer(error: unknown): boolean {
  const number = numberOf(error);
  return number > 0 && !GOING.has(number);
}

/** Says goodbye: shutdown, connection killed, and the same from a proxy. */
const GOING: ReadonlySet<number> = new Set([1053, 1077, 1079, 1152, 1184, 1317, 1927, 3169, 4031]);
const DUPLICATE = 1062;
const DEADLOCK = 1213;
/** MariaDB's, where it refuses to write what has changed since a snapshot. */
const CHANGED = 1020;
const LOCK_WAIT = 1205;

/** Two transactions wanted the same: the one that gave way may simply try again. */
export function isLock(error: unknown): boolean {
  const number = numberOf(error);
  return number === DEADLOCK || number === LOCK_WAIT || number === CHANGED;
}

export function isDuplicate(error: unknown): boolean {
  return numberOf(error) === DUPLICATE;
}

/**
 * What the outside can do to a ledger, by the server's number: too many connections, not let in, no such database, out
 * of memory, disk, files or locks, read-only, refused, a statement longer than it was set up for. And a table that is
 * missing, damaged or of another version, as in the midst of a restore: that is no message's fault, and none may be set
 * aside for it. All else that the server answers is a bug.
 */
const OPERATING: ReadonlySet<number> = new Set([
  1020, 1021, 1026, 1028, 1030, 1036, 1037, 1038, 1040, 1041, 1044, 1045, 1049, 1114, 1129, 1130, 1135, 1142, 1203,
  1153, 1205, 1206, 1213, 1226, 1227, 1290, 1637, 1698, 1792, 1820, 1836, 1862, 1969, 3024, 3118, 3572,
  // What a cluster of servers refuses: not part of it now, or the commit.
  1047, 1180, 3098, 3100, 3101,
  // No such file, index, table or column; damaged, crashed, changed meanwhile.
  1017, 1033, 1034, 1035, 1051, 1054, 1072, 1109, 1146, 1176, 1194, 1195, 1412, 1459, 1615, 1707, 1712, 1808, 1812,
  1813, 1814, 1815, 1877, 1932, 3167,
]);
/** What sockets, name look-ups, TLS and the driver say, none of which is an answer. */
const SYSTEM = /^(?:E[A-Z0-9_]+|PROTOCOL_|HANDSHAKE_|CERT_|DEPTH_|SELF_|UNABLE_)/;

/** LedgerUnavailable where the reason lies outside, else the error itself. */
export function asUnavailable(error: unknown): unknown {
  if (error instanceof LedgerUnavailable || !(error instanceof Error)) return error;
  // Drizzle's error says which query; why is in its cause.
  if (error instanceof DrizzleQueryError) return asUnavailable(error.cause ?? new Error(error.message));
  const number = numberOf(error);
  const { code = "" } = error as { code?: string };
  const isOutside =
    number > 0
      ? OPERATING.has(number) || GOING.has(number)
      : SYSTEM.test(code) || error.message.includes("in closed state");
  return isOutside ? new LedgerUnavailable(`MySQL: ${error.message || code}`, { cause: error }) : error;
}
