import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { untilApplied } from "../support/cluster-world.ts";
import { Api } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";
import {
  type Authority,
  KAFKA_USER,
  KafkaServer,
  makeAuthority,
  type SharedServices,
  sharedServices,
} from "../support/services.ts";

const TEST_MS_MAX = 60_000;
const { name, password } = KAFKA_USER;

let folder: string;
let authority: Authority;
let kafka: KafkaServer;
let services: SharedServices;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tally-kafka-secure-"));
  authority = await makeAuthority(folder);
  [kafka, services] = await Promise.all([KafkaServer.start({ authority }), sharedServices()]);
}, TEST_MS_MAX);

afterAll(async () => {
  await TestServer.killAll();
  await Promise.all([kafka.close(), services.stop()]);
  rmSync(folder, { recursive: true });
}, TEST_MS_MAX);

/** The flags of the shared services, with another Kafka, and a database that nobody has used. */
async function flags(...kafkaFlags: string[]): Promise<string[]> {
  const { flags: shared, mysql } = services;
  const urls: Record<string, string> = {
    "--kafka-brokers": kafka.secureBrokers,
    "--mysql-url": await mysql.createDatabase(),
  };
  const prefix = ["--prefix", `secure${crypto.randomUUID().slice(0, 8)}`];
  const others = shared.map((flag, i) => urls[shared[i - 1] ?? ""] ?? flag);
  return [...others, ...prefix, ...kafkaFlags];
}

const login = (mechanism: string, word = password) => [
  "--kafka-sasl",
  mechanism,
  "--kafka-username",
  name,
  "--kafka-password",
  word,
];

test.each(["plain", "scram-sha-256", "scram-sha-512"])(
  "%s behind TLS: acts go there and come from there, through a restart of the broker too",
  async (mechanism) => {
    const args = [...(await flags("--kafka-ca", authority.certificate, ...login(mechanism))), "--flush-ms", "50"];
    const data = join(folder, mechanism);
    const server = await TestServer.start({ data, args });
    const api = new Api();
    api.urls = [server.url];
    const ready = () => eventually(async () => expect((await api.get("/readyz")).json.status).toBe("ready"));
    await ready();
    const path = "/v1/subjects/article/secure";
    expect((await api.put(`${path}/likes/7`)).json).toMatchObject({ changed: true, count: 1 });
    expect((await api.post(`${path}/views`)).json).toEqual({ count: 1 });
    await kafka.kill();
    expect((await api.put(`${path}/likes/8`)).json).toMatchObject({ active: true });
    await kafka.start();
    await ready();
    await eventually(async () => expect((await api.get(path)).json.counts).toMatchObject({ likes: 2, views: 1 }));
    // Or verify would wait in vain for the ledger to have what is still on its way.
    await untilApplied([server]);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
    const verified = await runTally(["verify", ...args, "--data", data]);
    expect(verified).toMatchObject({ status: 0, stderr: "" });
  },
  TEST_MS_MAX,
);

test(
  "a password or a mechanism that Kafka refuses is a wrong setting: named, and not shown",
  async () => {
    const refused =
      "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
    const cases = [
      ["plain", "--kafka-password = \\*\\*\\*: must be that of tally in Kafka, which says: Authentication failed: .*"],
      ["scram-sha-256", `--kafka-password = \\*\\*\\*: must be that of tally in Kafka, which says: ${refused}`],
    ] as const;
    for (const [mechanism, says] of cases) {
      const args = await flags("--kafka-ca", authority.certificate, ...login(mechanism, "falsch"));
      await inFolder(async (data) => {
        for (const command of ["serve", "consume", "verify", "export", "import"]) {
          const ended = await runTally([command, ...args, "--data", data, "--port", "0", "--grpc-port", "0"]);
          expect({ command, ...ended }).toMatchObject({
            command,
            status: 78,
            stdout: "",
            stderr: expect.stringMatching(new RegExp(`^tally: wrong setting: ${says}\\n$`)),
          });
        }
      });
    }
  },
  TEST_MS_MAX,
);

test(
  "a certificate that nobody vouches for: Kafka is away, and it is said why",
  async () => {
    const args = await flags("--kafka-tls", ...login("plain"));
    const server = await TestServer.start({ data: join(folder, "untrusted"), args });
    const api = new Api();
    api.urls = [server.url];
    const detail = expect.stringMatching(/certificate/);
    await eventually(async () => {
      expect((await api.get("/readyz")).json).toMatchObject({
        status: "degraded",
        parts: { kafka: { status: "down", detail } },
      });
    });
    expect((await api.put("/v1/subjects/article/untrusted/likes/7")).status).toBeOneOf([200, 202]);
    expect(await server.stop()).toMatchObject({ signal: null });
  },
  TEST_MS_MAX,
);
