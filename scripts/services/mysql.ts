import { statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import mysql from "mysql2/promise";
import { command, mariadbPrograms } from "./install.ts";
import { freePort, HOST } from "./ports.ts";
import { Server, type StartOptions } from "./server.ts";
import { copyTemplate } from "./template.ts";

const USER = "tally";
const PASSWORD = "tally";
const SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION";
/** Of each file that InnoDB makes at once: its defaults of 96 MB take longer to copy than the rest to start. */
const INNODB_LOG_BYTES = 16 * 1024 * 1024;

export interface MysqlOptions {
  /** False: a commit is not fsync'd. Faster, and a SIGKILL alone still loses nothing. */
  durable?: boolean;
  /** Further flags of mariadbd. */
  args?: string[];
}

/** One MariaDB, with a database of its own for whoever started it. */
export class MysqlServer extends Server {
  readonly #options: MysqlOptions;
  #database = "";

  private constructor(port: number, options: MysqlOptions) {
    super("mysql", port);
    this.#options = options;
  }

  static async start(options: MysqlOptions = {}): Promise<MysqlServer> {
    const server = new MysqlServer(await freePort(), options);
    await server.start();
    return server;
  }

  /** Of the database that it was started with. */
  get url(): string {
    return urlOf(`${HOST}:${this.port}`, this.#database);
  }

  /** An empty one; returns its URL. */
  async createDatabase(): Promise<string> {
    return createDatabase(urlOf(`${HOST}:${this.port}`, ""));
  }

  override async launch(options: StartOptions = {}): Promise<void> {
    if (options.data !== undefined && options.data !== "kept") this.#database = "";
    await super.launch(options);
  }

  protected override async command(): Promise<string[]> {
    const { mariadbd = "" } = await mariadbPrograms();
    const init = join(this.folder, "init.sql");
    writeFileSync(
      init,
      `CREATE USER IF NOT EXISTS '${USER}'@'${HOST}' IDENTIFIED BY '${PASSWORD}';\n` +
        `GRANT ALL PRIVILEGES ON *.* TO '${USER}'@'${HOST}' WITH GRANT OPTION;\n`,
    );
    return [
      mariadbd,
      ...common(this.data),
      `--bind-address=${HOST}`,
      `--port=${this.port}`,
      `--socket=${join(this.folder, "socket")}`,
      `--pid-file=${join(this.folder, "pid")}`,
      `--init-file=${init}`,
      "--skip-name-resolve",
      `--sql-mode=${SQL_MODE}`,
      "--default-time-zone=+00:00",
      "--character-set-server=utf8mb4",
      "--max-connections=400",
      "--innodb-buffer-pool-size=64M",
      "--innodb-buffer-pool-dump-at-shutdown=OFF",
      "--innodb-buffer-pool-load-at-startup=OFF",
      `--innodb-flush-log-at-trx-commit=${this.#options.durable === false ? 2 : 1}`,
      ...(this.#options.args ?? []),
    ];
  }

  protected override async fill(data: string): Promise<void> {
    const { mariadbd = "", "mariadb-install-db": install = "" } = await mariadbPrograms();
    const { size, mtimeMs } = statSync(mariadbd); // another version, another template
    await copyTemplate(`mariadb-${Bun.hash(`${size} ${mtimeMs}`).toString(36)}`, data, async (folder) => {
      const flags = [...common(folder), "--auth-root-authentication-method=normal", "--skip-test-db"];
      await command([install, ...flags], { wanted: `${install} cannot make a data folder`, cwd: dirname(folder) });
    });
  }

  protected override async answer(): Promise<void> {
    const connection = await mysql.createConnection({ uri: urlOf(`${HOST}:${this.port}`, ""), connectTimeout: 1_000 });
    try {
      await connection.query("SELECT 1");
    } finally {
      connection.destroy();
    }
  }

  protected override async ready(): Promise<void> {
    if (this.#database === "") this.#database = new URL(await this.createDatabase()).pathname.slice(1);
  }
}

/** What the server and the making of its folder need. No option file: that one is for the machine's own server. */
function common(data: string): string[] {
  return [
    "--no-defaults",
    `--datadir=${data}`,
    ...(process.getuid?.() === 0 ? ["--user=root"] : []), // it refuses to run as root unless told to
    `--innodb-log-file-size=${INNODB_LOG_BYTES}`,
  ];
}

function urlOf(address: string, database: string): string {
  return `mysql://${USER}:${PASSWORD}@${address}/${database}`;
}

/** An empty database on the server that `url` names; returns the URL with it in the place of the database. */
export async function createDatabase(url: string): Promise<string> {
  const name = `tally_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
  const connection = await mysql.createConnection({ uri: url });
  try {
    await connection.query(`CREATE DATABASE ${name}`);
  } finally {
    connection.destroy();
  }
  const made = new URL(url);
  made.pathname = `/${name}`;
  return made.href;
}

/** Removes the database that `url` names. */
export async function dropDatabase(url: string): Promise<void> {
  const connection = await mysql.createConnection({ uri: url });
  try {
    await connection.query(`DROP DATABASE IF EXISTS ${new URL(url).pathname.slice(1)}`);
  } finally {
    connection.destroy();
  }
}
