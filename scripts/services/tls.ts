import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command } from "./install.ts";
import { HOST } from "./ports.ts";

/** A certificate for this machine that vouches for itself. */
export interface Authority {
  /** What clients must trust. */
  certificate: string;
  key: string;
  /** Both in one file. */
  bundle: string;
}

/** Makes one, of a few days, as files of the folder. */
export async function makeAuthority(folder: string): Promise<Authority> {
  const [certificate, key, bundle] = ["certificate.pem", "key.pem", "bundle.pem"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  const names = ["-addext", `subjectAltName=DNS:localhost,IP:${HOST}`];
  await command(["openssl", ...request, ...names, "-keyout", key, "-out", certificate], {
    wanted: "openssl makes no certificate",
  });
  writeFileSync(bundle, readFileSync(key, "utf8") + readFileSync(certificate, "utf8"));
  return { certificate, key, bundle };
}
