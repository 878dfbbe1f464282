import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createConnection } from "mysql2/promise";
import { Api } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { runTally, TestServer } from "../support/server.ts";
import {
  type Authority,
  MysqlServer,
  makeAuthority,
  type SharedServices,
  sharedServices,
} from "../support/services.ts";

const TEST_MS_MAX = 60_000;

let folder: string;
let authority: Authority;
let mysql: MysqlServer;
let services: SharedServices;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tally-mysql-tls-"));
  authority = await makeAuthority(folder);
  const tls = [`--ssl-cert=${authority.certificate}`, `--ssl-key=${authority.key}`];
  [mysql, services] = await Promise.all([MysqlServer.start({ durable: false, args: tls }), sharedServices()]);
  const connection = await createConnection({ uri: mysql.url });
  await connection.query("CREATE USER safe IDENTIFIED BY 'geheim' REQUIRE SSL");
  await connection.query("GRANT ALL ON *.* TO safe");
  await connection.end();
}, TEST_MS_MAX);

afterAll(async () => {
  await TestServer.killAll();
  await Promise.all([mysql.close(), services.stop()]);
  rmSync(folder, { recursive: true });
}, TEST_MS_MAX);

/** The flags of the shared services, with another MySQL, and a user whom that lets in with TLS only. */
function flags(query: string): string[] {
  const { flags: shared } = services;
  const url = new URL(mysql.url + query);
  [url.username, url.password] = ["safe", "geheim"];
  return [...shared.with(shared.indexOf("--mysql-url") + 1, url.href), "--flush-ms", "50"];
}

async function started(name: string, query: string, env: Record<string, string>) {
  const server = await TestServer.start({ data: join(folder, name), args: flags(query), env });
  const api = new Api();
  api.urls = [server.url];
  return { server, api };
}

test(
  "a MySQL that wants TLS: used where its certificate is trusted, through a restart too",
  async () => {
    const env = { NODE_EXTRA_CA_CERTS: authority.certificate };
    const { server, api } = await started("trusted", "?ssl=true", env);
    const ready = () => eventually(async () => expect((await api.get("/readyz")).json.status).toBe("ready"));
    await ready();
    const path = "/v1/subjects/article/tls";
    expect((await api.put(`${path}/likes/7`)).json).toMatchObject({ changed: true, count: 1 });
    await mysql.kill();
    await mysql.start();
    await ready();
    await eventually(async () => {
      expect((await api.get(`${path}/likes?limit=5`)).json).toMatchObject({ count: 1, actors: [{ actor: "7" }] });
    });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
    const verified = await runTally(["verify", ...flags("?ssl=true"), "--data", join(folder, "trusted")], {
      env,
    });
    expect(verified).toMatchObject({ status: 0 });
  },
  TEST_MS_MAX,
);

test(
  "without TLS it lets nobody in, and with a certificate that nobody vouches for it is away; it is said why",
  async () => {
    const plain = await runTally(["migrate", ...flags("")]);
    expect(plain).toMatchObject({ status: 78, stderr: expect.stringMatching(/--mysql-url = .*Access denied/) });
    const untrusted = await runTally(["migrate", ...flags("?ssl=true")]);
    expect(untrusted).toMatchObject({ status: 69, stderr: expect.stringMatching(/certificate/) });
  },
  TEST_MS_MAX,
);
