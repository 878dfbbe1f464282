// Finds the programs that the servers for tests need, and installs what is missing: with apt as root on Debian, and
// Kafka with Maven; both ask the registries that this machine is set up for. What cannot be had is an error of one line.
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
/** What is made once and used by every later run. */
export const CACHE = join(ROOT, "node_modules/.cache/tally-services");
const KAFKA_VERSION = "4.1.1";
const SCALA_VERSION = "2.13";
const LOG4J_VERSION = "2.24.3";
const DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1";
/** Kafka 4 starts on nothing older. */
const JAVA_MIN = 17;
const POLICY = "/usr/sbin/policy-rc.d";
/** Where servers are that need no place on a user's PATH. */
const FURTHER_FOLDERS = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/libexec", "/opt/homebrew/bin"];

export interface Programs {
  [name: string]: string;
}

/** The path of a program, or null. */
export function find(program: string): string | null {
  return Bun.which(program, { PATH: [process.env.PATH ?? "", ...FURTHER_FOLDERS].join(":") });
}

/** Paths of `names`, after installing `packages` if one of them is missing. */
async function have(names: string[], packages: string[]): Promise<Programs> {
  if (!names.every(find)) await locked("apt", () => (names.every(find) ? Promise.resolve() : apt(names, packages)));
  return Object.fromEntries(
    names.map((name) => {
      const path = find(name);
      if (!path) throw new Error(`${packages.join(" ")} is installed, and yet there is no ${name}`);
      return [name, path];
    }),
  );
}

export const redisPrograms = () => have(["redis-server"], ["redis-server"]);
export const chromiumPrograms = () => have(["chromium"], ["chromium"]);
export const mariadbPrograms = () => have(["mariadbd", "mariadb-install-db"], ["mariadb-server"]);

async function apt(names: string[], packages: string[]): Promise<void> {
  const missing = names.filter((name) => !find(name)).join(" and ");
  const wanted = `${missing} is missing: install ${packages.join(" and ")}`;
  if (!find("apt-get")) throw new Error(`${wanted} with the system's package manager`);
  if (process.getuid?.() !== 0) throw new Error(`${wanted}, as root: apt-get install ${packages.join(" ")}`);
  console.error(`Installing ${packages.join(" ")} …`);
  // A package that brings a service would start it, on the port that everybody knows and with data of its own.
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    const get = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq"];
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await command([...get, "update"], { env, wanted });
    await command([...get, "install", "-y", "--no-install-recommends", ...packages], { env, wanted });
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
  if (!existsSync("/run/systemd/system")) return;
  // The policy kept them from starting now; this is for the next boot.
  for (const name of packages.filter((name) => name.endsWith("-server"))) {
    await command(["systemctl", "disable", name.replace("mariadb-server", "mariadb")], { wanted }).catch(() => {});
  }
}

/** The Java program and the class path with which Kafka runs. */
export async function kafkaPrograms(): Promise<{ java: string; classPath: string; version: string }> {
  const { java = "" } = await have(["java"], ["default-jre-headless"]);
  const libs = join(CACHE, `kafka-${KAFKA_VERSION}`);
  if (!existsSync(libs)) {
    const said = await command([java, "-version"], { wanted: `java is broken: install Java ${JAVA_MIN} or later` });
    const version = Number(/version "(\d+)/.exec(said)?.[1]);
    if (!(version >= JAVA_MIN)) throw new Error(`Java is too old for Kafka: install Java ${JAVA_MIN} or later`);
    await locked("kafka", () => (existsSync(libs) ? Promise.resolve() : fetchKafka(libs)));
  }
  return { java, classPath: join(libs, "*"), version: KAFKA_VERSION };
}

async function fetchKafka(libs: string): Promise<void> {
  const { mvn = "" } = await have(["mvn"], ["maven"]);
  console.error(`Fetching Kafka ${KAFKA_VERSION} …`);
  const work = `${libs}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    writeFileSync(join(work, "pom.xml"), pom());
    await command(
      [
        mvn,
        "-B",
        "-q",
        "-f",
        join(work, "pom.xml"),
        `${DEPENDENCY_PLUGIN}:copy-dependencies`,
        "-DoutputDirectory=libs",
      ],
      {
        wanted: `Maven cannot fetch Kafka: make "mvn dependency:get" work for kafka_${SCALA_VERSION}:${KAFKA_VERSION}`,
      },
    );
    renameSync(join(work, "libs"), libs);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function pom(): string {
  const dependency = (groupId: string, artifactId: string, version: string) => {
    const fields = Object.entries({ groupId, artifactId, version });
    return `<dependency>${fields.map(([name, value]) => `<${name}>${value}</${name}>`).join("")}</dependency>`;
  };
  const log4j = ["log4j-api", "log4j-core", "log4j-slf4j-impl"];
  return [
    "<project><modelVersion>4.0.0</modelVersion><groupId>tally</groupId><artifactId>kafka</artifactId>",
    "<version>1</version><dependencies>",
    dependency("org.apache.kafka", `kafka_${SCALA_VERSION}`, KAFKA_VERSION),
    ...log4j.map((artifact) => dependency("org.apache.logging.log4j", artifact, LOG4J_VERSION)),
    "</dependencies></project>",
  ].join("\n");
}

interface CommandOptions {
  /** What to say if it fails. */
  wanted: string;
  env?: Record<string, string>;
  cwd?: string;
}

/** Runs it to its end and returns what it printed. */
export async function command(argv: string[], { wanted, env, cwd }: CommandOptions): Promise<string> {
  const child = Bun.spawn(argv, {
    env: { ...process.env, ...env },
    ...(cwd && { cwd }),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (status === 0) return stdout + stderr;
  const said = Bun.stripANSI(stderr + stdout)
    .split("\n")
    .filter((line) => line.trim() !== "");
  const complaints = said.filter((line) => /error|cannot|unable|fail|invalid|E: /i.test(line)).slice(0, 2);
  const why = (complaints.length > 0 ? complaints : said.slice(-2)).join(" | ");
  throw new Error(`${wanted} (${argv[0]} ended with ${status}: ${why})`);
}

/** One process at a time. The lock is SQLite's: it ends with the process, however that ends. */
export async function locked<T>(name: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(CACHE, { recursive: true });
  const lock = new Database(join(CACHE, `${name}.lock`));
  try {
    while (!take(lock)) await Bun.sleep(100);
    return await work();
  } finally {
    lock.close();
  }
}

function take(lock: Database): boolean {
  try {
    lock.run("BEGIN EXCLUSIVE");
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "SQLITE_BUSY") return false;
    throw error;
  }
}
