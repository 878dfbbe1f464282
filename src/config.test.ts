import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deployment, isLoopback, loadSettings, readArguments, type Settings, SettingsError } from "./config.ts";
import { EXIT, StartError } from "./errors.ts";

const folder = mkdtempSync(join(tmpdir(), "tally-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Given {
  argv?: string[];
  env?: Record<string, string>;
  yaml?: string;
  listens?: boolean;
}

/** An empty file unless told, so that a tally.yaml in the working directory has no say. */
function fileWith(yaml = ""): string {
  const path = join(folder, "tally.yaml");
  writeFileSync(path, yaml);
  return path;
}

function load({ argv = [], env = {}, yaml, listens = false }: Given) {
  return loadSettings({ args: readArguments(["--config", fileWith(yaml), ...argv], {}), env, listens });
}

function settings(given: Given): Settings {
  return load(given).settings;
}

function problems(given: Given): string[] {
  try {
    load(given);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems.map((p) => `${p.name} = ${p.value}: ${p.message}`);
    throw error;
  }
  return [];
}

function usage(...argv: string[]): string {
  try {
    readArguments(argv, { repair: { type: "boolean", doc: "" }, name: { type: "string", doc: "" } });
  } catch (error) {
    if (error instanceof StartError && error.exitStatus === EXIT.usage) return error.message;
    throw error;
  }
  return "";
}

describe("where a setting comes from", () => {
  test("flag over environment over file over default", () => {
    expect(settings({}).port).toBe(8080);
    expect(settings({ yaml: "port: 1" }).port).toBe(1);
    expect(settings({ yaml: "port: 1", env: { TALLY_PORT: "2" } }).port).toBe(2);
    expect(settings({ yaml: "port: 1", env: { TALLY_PORT: "2" }, argv: ["--port", "3"] }).port).toBe(3);
    expect(settings({ argv: ["--port=3", "--port=4"] }).port).toBe(4);
  });

  test("what is overridden need not be right", () => {
    expect(settings({ yaml: "port: many", argv: ["--port=3"] }).port).toBe(3);
  });

  test("an empty variable is none, an empty flag takes back", () => {
    expect(settings({ yaml: "prefix: a", env: { TALLY_PREFIX: "" } }).prefix).toBe("a");
    expect(settings({ yaml: "prefix: a", argv: ["--prefix="] }).prefix).toBe("tally");
    expect(settings({ yaml: "prefix:" }).prefix).toBe("tally");
  });

  test("the defaults", () => {
    const { workers, logFormat, configFile, ...rest } = settings({});
    expect(workers).toBeGreaterThanOrEqual(1);
    expect(configFile).toBe(join(folder, "tally.yaml"));
    expect(["json", "pretty"]).toContain(logFormat);
    expect(rest).toMatchObject({ host: "127.0.0.1", grpcPort: 50051, data: "./data", flushMs: 1000, migrate: true });
    expect(rest).toMatchObject({ countersMax: 10_000_000, logRetention: 604_800_000, keys: [], rateLimit: null });
    expect(rest.metrics.map((m) => `${m.name}:${m.kind}`)).toEqual([
      ...["views:tally", "shares:tally", "likes:relation", "favorites:relation", "follows:relation"],
    ]);
    expect(rest.known).toEqual({ relation: "follows", type: "user" });
  });

  test("a settings file that was asked for must be there", () => {
    const args = { settings: new Map(), configFile: join(folder, "none.yaml") };
    expect(() => loadSettings({ args, env: {} })).toThrow("none.yaml cannot be read: there is none");
    expect(() => loadSettings({ args: { ...args, configFile: undefined }, env: { TALLY_CONFIG: folder } })).toThrow(
      folder,
    );
  });
});

describe("what a value may look like", () => {
  test("switches", () => {
    for (const word of ["1", "true", "yes", "on", "ON"])
      expect(settings({ env: { TALLY_OPEN: word } }).open).toBe(true);
    for (const word of ["0", "false", "no", "off"])
      expect(settings({ env: { TALLY_MIGRATE: word } }).migrate).toBe(false);
    expect(settings({ argv: ["--open"] }).open).toBe(true);
    expect(settings({ argv: ["--open=false"], yaml: "open: true" }).open).toBe(false);
    expect(settings({ argv: ["--no-open"], yaml: "open: true" }).open).toBe(false);
    expect(settings({ argv: ["--no-migrate", "--no-consumer"] })).toMatchObject({ migrate: false, consumer: false });
    expect(settings({ env: { TALLY_NO_MIGRATE: "1" }, yaml: "noConsumer: true" })).toMatchObject({
      ...{ migrate: false, consumer: false },
    });
    expect(problems({ env: { TALLY_OPEN: "maybe" } })).toEqual(["TALLY_OPEN = maybe: must be true or false"]);
  });

  test("lists, durations, limits, keys", () => {
    const read = settings({
      argv: ["--cors-origins", "https://a.b, http://c.d:81", "--log-retention=90m", "--rate-limit=0.5:10"],
      env: { TALLY_KEYS: "admin:a:b,write:c", TALLY_TRUSTED_PROXIES: "10.0.0.0/8,::1" },
      yaml: "types: [article, user]",
    });
    expect(read.corsOrigins).toEqual(["https://a.b", "http://c.d:81"]);
    expect(read.logRetention).toBe(5_400_000);
    expect(read.rateLimit).toEqual({ perSecond: 0.5, burst: 10 });
    expect(read.keys).toEqual([
      { role: "admin", secret: "a:b" },
      { role: "write", secret: "c" },
    ]);
    expect(read.trustedProxies).toEqual(["10.0.0.0/8", "::1"]);
    expect(read.types).toEqual(["article", "user"]);
  });

  test("any is no type but all of them, as the default is written", () => {
    for (const given of [{ argv: ["--types", "any"] }, { yaml: "types: any" }, { yaml: "types: [any]" }, {}])
      expect(settings(given)).toMatchObject({ types: null, known: { relation: "follows", type: "user" } });
    expect(problems({ argv: ["--types=Article"] })).toHaveLength(1);
    expect(problems({ argv: ["--types=any,article"] })).toEqual([
      "--types = any,article: must be names of types, or any alone: it stands for all",
    ]);
  });

  test("the metrics of the contract, in a file and on the command line", () => {
    const inFile = settings({
      yaml: `metrics:
  views: {kind: tally, unique: 30m, bots: drop, allow: [MyMonitor], ignore: [10.0.0.0/8], distinct: true}
  likes: {kind: relation}`,
    });
    expect(inFile.metrics).toEqual([
      {
        ...{ name: "views", kind: "tally", unique: 1_800_000, bots: "drop" },
        ...{ allow: ["MyMonitor"], ignore: ["10.0.0.0/8"], distinct: true },
      },
      { name: "likes", kind: "relation" },
    ]);
    expect(inFile.known).toBeNull();
    expect(settings({ argv: ["--metrics", '{"views": "tally"}'] }).metrics).toEqual([{ name: "views", kind: "tally" }]);
  });

  test("addresses of stores", () => {
    const right = ["redis://a", "rediss://u:p@a:1", "redis+cluster://u:p@a:1,b:2", "redis+cluster://a:1,[::1]:2"];
    const stores = ["--kafka-brokers=a,b:1", "--mysql-url=mysql://u:p@h/d"];
    for (const url of right) expect(problems({ argv: [`--redis-url=${url}`, ...stores] })).toEqual([]);
    for (const url of ["a:1", "redis://", "redis+cluster://a,b", "ftp://a"]) {
      expect(problems({ argv: [`--redis-url=${url}`, ...stores] })).toHaveLength(1);
    }
    expect(settings({ argv: ["--redis-url=redis://a", ...stores] }).kafkaBrokers).toEqual(["a:9092", "b:1"]);
  });

  test.each([
    ["--flush-ms", "9", "60001", "10"],
    ["--workers", "0", "65", "64"],
    ["--counters-max", "15", "100000001", "100000000"],
    ["--port", "-1", "65536", "0"],
    ["--grpc-port", "1.5", "65536", "65535"],
  ])("%s has bounds", (flag, low, high, right) => {
    expect(problems({ argv: [`${flag}=${low}`] })[0]).toStartWith(`${flag} = ${low}: must be a whole number from`);
    expect(problems({ argv: [`${flag}=${high}`] })).toHaveLength(1);
    expect(problems({ argv: [`${flag}=${right}`] })).toEqual([]);
  });
});

describe("wrong settings", () => {
  test("all of them together, each in the spelling that was used, with what would be right", () => {
    const found = problems({
      argv: ["--port=70000"],
      env: { TALLY_FLUSH_MS: "soon", TALLY_CORS_ORIGINS: "https://a.b,nowhere" },
      yaml: "logLevel: loud\nredis-url: redis://a\nmetrics: {views: {kind: tally, unique: soon}}",
    }).map((line) => line.replaceAll(folder, ""));
    expect(found).toEqual([
      "redis-url (/tally.yaml) = undefined: is no setting; did you mean redisUrl?",
      "--port = 70000: must be a whole number from 0 to 65535",
      "TALLY_FLUSH_MS = soon: must be a whole number from 10 to 60000",
      "metrics.views.unique (/tally.yaml) = soon: must be a duration from 1s to 365d, such as 500ms, 30m or 7d",
      "TALLY_CORS_ORIGINS = nowhere: item 2 must be an origin, such as https://example.org, or *",
      "logLevel (/tally.yaml) = loud: must be debug, info, warn or error",
    ]);
  });

  test("a file that cannot be read is one of them", () => {
    expect(problems({ argv: ["--port=x"], yaml: `kafkaCa: ${folder}/none.pem` })).toEqual([
      "--port = x: must be a whole number from 0 to 65535",
      expect.stringMatching(/^kafkaCa \(.*\) = .*none\.pem: must be a file that can be read: there is none$/),
    ]);
    expect(problems({ argv: [`--kafka-ca=${folder}`] })[0]).toEndWith("read: EISDIR: illegal operation on a directory");
    expect(settings({ argv: [`--kafka-ca=${fileWith()}`] }).kafkaTls).toBe(true);
  });

  test("what is wrong inside a setting that has parts is shown, wherever it was written", () => {
    const metrics = "{views: {kind: foo}, likes: {kind: tally, ignore: [10.0.0.0/8, here]}}";
    const webhooks = "[{metric: likes, at: [1, x], url: 'ftp://u:p@h', secret: whsec_}]";
    expect(problems({ argv: ["--metrics", metrics], env: { TALLY_WEBHOOKS: webhooks } })).toEqual([
      "--metrics = foo: views.kind must be tally or relation",
      expect.stringMatching(/^--metrics = here: likes\.ignore\[1\] must be an address/),
      expect.stringMatching(/^TALLY_WEBHOOKS = x: \[0\]\.at\[1\] must be a whole number/),
      expect.stringMatching(/^TALLY_WEBHOOKS = ftp:\/\/u:\*\*\*@h: \[0\]\.url must be a URL/),
      "TALLY_WEBHOOKS = ***: [0].secret begins with whsec_, and what follows is not base64",
    ]);
  });

  test("secrets are hidden, whatever is wrong with them", () => {
    const secret = "geheim";
    const yamls = [
      `jwtSecret: [${secret}]`,
      `webhooks: [{metric: likes, at: [0], url: "ftp://u:${secret}@h/?token=${secret}", secret: ""}]`,
      `webhooks: [${secret}]`,
      `webhooks: ${secret}`,
      `redisTokn: ${secret}`,
      `keys: {admin: ${secret}}`,
      `keys: ["${secret}", "admin: ${secret}"]`,
      `a: b\n  jwtSecret: "${secret}`,
    ];
    const argvs = [
      [`--redis-url=redis://user:${secret}@host`],
      [`--redis-url=redis://${secret}@host`],
      [`--redis-url=user:${secret}@host`],
      [`--redis-url=redis://u:a/${secret}@${secret}@host:port`],
      [`--mysql-url=mysql://root:${secret}@host`],
      [`--mysql-url=mysql://host?password=${secret}`],
      [`--keys=${secret}`],
      [`--keys=admin:${secret},write:${secret}`],
      [`--keys=admin:${secret} x`],
      [`--jwks-url=ftp://u:${secret}@h`],
      [`--redis-token=${secret}`],
      [`--kafka-password=${secret}`],
      ["--webhooks", `[{metric: likes, at: [1], url: "${secret}", secret: ${secret}}, {`],
      ["--webhooks", `[{metric: likes, at: [x,y], secret: "${secret},${secret}"}]`],
    ];
    const reports = [...yamls.map((yaml) => problems({ yaml })), ...argvs.map((argv) => problems({ argv }))];
    for (const report of reports) {
      expect(report.length).toBeGreaterThan(0);
      expect(report.join("\n")).not.toContain(secret);
    }
    expect(problems({ argv: [`--mysql-url=mysql://root:${secret}@host`] })[0]).toContain("mysql://root:***@host");
    expect(problems({ env: { TALLY_KEYS: `admin:${secret},boss:x` } })[0]).toStartWith("TALLY_KEYS = ***: item 2");
  });

  test("settings that do not go together", () => {
    expect(problems({ env: { TALLY_REDIS_URL: "redis://a" } })).toEqual([
      "TALLY_REDIS_URL = redis://a: a cluster needs Redis, Kafka and MySQL: TALLY_KAFKA_BROKERS and TALLY_MYSQL_URL are " +
        "missing; to run embedded, leave TALLY_REDIS_URL out",
    ]);
    const two = ["--kafka-brokers=a:1", "--mysql-url=mysql://u@h/d"];
    expect(problems({ argv: two })[0]).toContain("--redis-url is missing");
    expect(problems({ argv: [...two, "--redis-url=https://a"] })[0]).toContain("needs --redis-token too");
    for (const url of ["http://a", "https://a"])
      expect(settings({ argv: [...two, `--redis-url=${url}`, "--redis-token=t"] }).redisToken).toBe("t");
    expect(problems({ argv: [...two, "--redis-url=redis://a", "--redis-token=t"] })).toEqual([
      "--redis-token = ***: goes with an https:// or http:// URL in --redis-url only",
    ]);
    expect(problems({ argv: [...two, "--redis-url=ftp://a"] })[0]).toContain(
      "rediss://, https:// or http:// with a host",
    );
    expect(problems({ argv: ["--kafka-username=a"] })[0]).toContain("needs --kafka-sasl and --kafka-password too");
    expect(problems({ argv: ["--cors-origins=*,https://a.b"] })).toHaveLength(1);
    expect(problems({ argv: ["--keys=read:a,write:a"] })).toHaveLength(1);
    expect(problems({ argv: ["--known={relation: views, type: user}"] })).toHaveLength(1);
    expect(problems({ yaml: 'webhooks: [{metric: none, at: [1], url: "https://a", secret: x}]' })).toHaveLength(1);
  });

  test("a webhook's counts, URL and secret are what can be told, stored and signed with", () => {
    const hook = (more: object) => {
      const whole = { metric: "likes", at: [1], url: "https://a", secret: "any text", ...more };
      return problems({ argv: [`--webhooks=[${JSON.stringify(whole)}]`] });
    };
    expect(hook({})).toEqual([]);
    expect(hook({ secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" })).toEqual([]);
    for (const secret of ["", "whsec_", "whsec_a", "whsec_replace_me"]) {
      expect(hook({ secret })).toHaveLength(1);
      if (secret.length > 6) expect(hook({ secret })[0]).not.toContain(secret);
    }
    expect(hook({ at: [] })).toHaveLength(1);
    expect(hook({ at: Array.from({ length: 1_001 }, (_, i) => i + 1) })).toHaveLength(1);
    expect(hook({ url: `https://a/${"x".repeat(1_024)}` })).toHaveLength(1);
  });

  test("all three stores make a cluster, none is embedded", () => {
    const all = ["--redis-url=redis://a", "--kafka-brokers=a:1", "--mysql-url=mysql://u@h/d"];
    expect(deployment(settings({ argv: all }))).toBe("cluster");
    expect(deployment(settings({}))).toBe("embedded");
  });

  test("what is not in this version is taken, and said by those who would have it", () => {
    const argv = ["--rate-limit=1:2", "--grpc-port=0"];
    const given = { argv, env: { TALLY_JWT_SECRET: "a" }, yaml: "jwksUrl: https://a/keys" };
    expect(load({ ...given, listens: true }).warnings.map((line) => line.replaceAll(folder, ""))).toEqual([
      expect.stringMatching(/^jwksUrl \(\/tally.yaml\) has no effect yet: JWTs come in a later version/),
      expect.stringMatching(/^TALLY_JWT_SECRET has no effect yet: JWTs/),
      expect.stringMatching(/^--rate-limit has no effect yet: Comes in a later version/),
    ]);
    expect(load(given).warnings).toEqual([]);
    expect(load({ listens: true }).warnings).toEqual([]);
  });

  test("variables that are no settings only warn; Kubernetes' own do not even that", () => {
    const env = { TALLY_PROT: "1", TALLY_PORT: "tcp://10.0.0.1:80", TALLY_SERVICE_HOST: "a", TALLY_PORT_80_TCP: "b" };
    const { settings: read, warnings } = load({ env });
    expect(read.port).toBe(8080);
    expect(warnings).toEqual([
      "TALLY_PORT is ignored: it is a service link of Kubernetes (enableServiceLinks: false ends them)",
      "TALLY_PROT is no setting and is ignored; did you mean TALLY_PORT?",
    ]);
  });
});

describe("flags", () => {
  test("those that do not exist are refused together, with a hint", () => {
    expect(usage("--prot=1", "--bogus-thing")).toStartWith(
      "unknown flag --prot; did you mean --port?; unknown flag --bogus",
    );
    expect(usage("--no-port")).toContain("unknown flag --no-port");
    expect(usage("-x")).toContain("unknown flag -x");
    expect(usage("--constructor")).toContain("unknown flag --constructor");
  });

  test("values are asked for and refused", () => {
    expect(usage("--port")).toContain("--port needs a value");
    expect(usage("--data", "--open")).toContain("--data needs a value");
    expect(usage("--repair=1")).toContain("--repair takes no value");
    expect(usage("--data=--odd", "--repair", "--name", "web")).toBe("");
  });

  test("stand before and after the command", () => {
    const args = readArguments(["--port", "1", "verify", "--open", "--repair", "--", "--data"], {
      repair: { type: "boolean", doc: "" },
    });
    expect(args.words).toEqual(["verify", "--data"]);
    expect(args.options).toEqual({ repair: true });
    expect([...args.settings.keys()]).toEqual(["port", "open"]);
  });
});

describe("protected mode", () => {
  const elsewhere = ["--host=0.0.0.0"];

  test("without keys a server listens on loopback only", () => {
    const [problem] = problems({ argv: elsewhere, listens: true });
    expect(problem).toStartWith("--host = 0.0.0.0: protected mode");
    for (const remedy of ["--keys", "--jwt-secret", "--jwks-url", "--open", "127.0.0.1"])
      expect(problem).toContain(remedy);
    expect(problems({ env: { TALLY_HOST: "example.org" }, listens: true })[0]).toContain("TALLY_KEYS");
    expect(problems({ argv: elsewhere })).toEqual([]);
  });

  test.each([["--keys=admin:x"], ["--jwt-secret=x"], ["--jwks-url=https://a"], ["--open"]])("%s lifts it", (remedy) => {
    expect(problems({ argv: [...elsewhere, remedy], listens: true })).toEqual([]);
  });

  test("is reported with the other wrong settings", () => {
    expect(problems({ argv: [...elsewhere, "--port=x"], listens: true })).toHaveLength(2);
  });

  test("what loopback is", () => {
    for (const host of [
      "127.0.0.1",
      "127.9.9.9",
      "::1",
      "0:0:0:0:0:0:0:1",
      "localhost",
      "LOCALHOST",
      "::ffff:127.0.0.1",
    ]) {
      expect([host, isLoopback(host)]).toEqual([host, true]);
    }
    for (const host of [
      "0.0.0.0",
      "::",
      "128.0.0.1",
      "127.evil.org",
      "localhost.evil.org",
      "::ffff:10.0.0.1",
      "127.1",
    ]) {
      expect([host, isLoopback(host)]).toEqual([host, false]);
    }
  });
});
