import { BlockList, isIP } from "node:net";
import type { Call } from "./call.ts";

/** Addresses and networks to look an address up in; IPv4 written as IPv6 is IPv4. */
export class Networks {
  readonly #list = new BlockList();
  readonly isEmpty: boolean;

  /** Each as the settings have checked it: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`. */
  constructor(networks: readonly string[]) {
    this.isEmpty = networks.length === 0;
    for (const network of networks) {
      const [address = "", bits] = network.split("/");
      const family = familyOf(address);
      if (bits === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(bits), family);
    }
  }

  has(address: string): boolean {
    return !this.isEmpty && isIP(address) !== 0 && this.#list.check(address, familyOf(address));
  }
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}

/** The address of the other end of a request's connection; null where it has gone. */
export type PeerOf = (request: Request) => string | null;

/** Where the caller is. Asked for where it is needed, since it costs as much as the rest of a view. */
export type AddressOf = (call: Pick<Call, "request" | "headers">) => string;

/** A connection that has gone, and what has no address. */
const NOWHERE = "";

/**
 * The caller's address: the peer's, unless the peer is a trusted proxy. Then what the proxies passed on is read from the right,
 * where each has added whom it was called by, and the first address that is no trusted proxy is the caller's: what stands
 * further left anyone may have written. (The way that MDN describes under X-Forwarded-For, "Trusted proxy list", and nginx
 * does with real_ip_recursive.) Where the chain ends in something that is no address, the last proxy that is known is as
 * near as we get; where all are trusted, the outermost is the caller.
 *
 * X-Forwarded-For and Forwarded (RFC 7239) are read the same. A proxy writes one of them and lets the other through as
 * the caller sent it, so where both are there and say different things neither is believed, and the peer it is.
 */
export function createAddressOf(peerOf: PeerOf, trustedProxies: readonly string[]): AddressOf {
  const trusted = new Networks(trustedProxies);
  return ({ request, headers }) => {
    const peer = plain(peerOf(request) ?? NOWHERE) ?? NOWHERE;
    if (trusted.isEmpty || !trusted.has(peer)) return peer;
    const list = headers["x-forwarded-for"];
    const standard = headers.forwarded;
    const one = list === undefined ? null : callerIn(list.split(","), peer, trusted);
    const other = standard === undefined ? null : callerIn(forwardedFor(standard), peer, trusted);
    if (one !== null && other !== null && one !== other) return peer;
    return one ?? other ?? peer;
  };
}

function callerIn(chain: readonly string[], peer: string, trusted: Networks): string {
  let nearest = peer;
  for (let i = chain.length - 1; i >= 0; i--) {
    const address = plain(chain[i] as string);
    if (address === null) break;
    nearest = address;
    if (!trusted.has(address)) break;
  }
  return nearest;
}

/** An element of Forwarded, or the comma behind one: pairs of a token and a token or a quoted string. */
const PAIR = /\s*([!#$%&'*+\-.^_`|~\w]+)=([!#$%&'*+\-.^_`|~\w:[\]]+|"(?:[^"\\]|\\.)*")\s*|\s*([,;])|\s+/y;

/** The `for` of each element, "" where it has none; nothing where the header is not what RFC 7239 says. */
function forwardedFor(header: string): string[] {
  const chain = [""];
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < header.length) {
    const match = PAIR.exec(header);
    if (!match) return [];
    const [, name, value, mark] = match;
    if (mark === ",") chain.push("");
    if (name?.toLowerCase() === "for") chain[chain.length - 1] = unquoted(value ?? "");
  }
  return chain;
}

function unquoted(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value;
}

/** `address`, `address:port`, `[address]` or `[address]:port` → the address in its one spelling; null: it is none. */
function plain(raw: string): string | null {
  const text = raw.trim();
  const bare = /^\[(.*)\](?::[\w.-]+)?$/.exec(text)?.[1] ?? /^([\d.]+):[\w.-]+$/.exec(text)?.[1] ?? text;
  const version = isIP(bare);
  if (version !== 6) return version === 4 ? bare : null;
  const canonical = new URL(`http://[${bare.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(canonical);
  if (!mapped) return canonical;
  const [high, low] = [Number.parseInt(mapped[1] as string, 16), Number.parseInt(mapped[2] as string, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}
