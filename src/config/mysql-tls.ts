import { z } from "zod";

const TLS = z.union([z.literal(true), z.record(z.string(), z.unknown())]);

/**
 * What a MySQL URL says of TLS: `?ssl=true`, or options of the driver as JSON, which many providers hand out. Null without;
 * undefined where it is neither. The certificate must be one for the host, unless the options say otherwise.
 */
export function tlsOfMysql(url: URL): Record<string, unknown> | null | undefined {
  const said = url.searchParams.get("ssl");
  if (said === null) return null;
  try {
    const tls = TLS.parse(JSON.parse(said));
    return { verifyIdentity: true, ...(tls === true ? {} : tls) };
  } catch {
    return undefined;
  }
}
