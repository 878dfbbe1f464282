import { describe, expect, test } from "bun:test";
import { createAddressOf, Networks } from "./address.ts";
import type { Call } from "./call.ts";

const TRUSTED = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"];

function addressOf(peer: string | null, headers: Record<string, string>, trusted = TRUSTED): string {
  const call = { request: new Request("http://localhost/"), headers } as Pick<Call, "request" | "headers">;
  return createAddressOf(() => peer, trusted)(call);
}

const list = (value: string) => ({ "x-forwarded-for": value });
const standard = (value: string) => ({ forwarded: value });

describe("the caller's address", () => {
  test.each<[what: string, peer: string | null, headers: Record<string, string>, address: string]>([
    ["the peer", "203.0.113.9", {}, "203.0.113.9"],
    ["a peer over IPv6", "2001:DB9::0:1", {}, "2001:db9::1"],
    ["IPv4 written as IPv6", "::ffff:203.0.113.9", {}, "203.0.113.9"],
    ["a link's zone", "fe80::1%eth0", {}, "fe80::1"],
    ["a connection that has gone", null, list("203.0.113.9"), ""],
    ["a stranger that forwards", "203.0.113.9", list("198.51.100.7"), "203.0.113.9"],
    ["a stranger that forwards, by RFC 7239", "203.0.113.9", standard("for=198.51.100.7"), "203.0.113.9"],
    ["a proxy", "10.0.0.1", list("198.51.100.7"), "198.51.100.7"],
    ["a proxy written as IPv6", "::ffff:10.0.0.1", list("198.51.100.7"), "198.51.100.7"],
    ["a proxy over IPv6", "2001:db8::1", list("2001:DB9::7"), "2001:db9::7"],
    ["a proxy that forwards nothing", "10.0.0.1", {}, "10.0.0.1"],
    ["what the caller made up, to the left", "10.0.0.1", list("1.1.1.1, 198.51.100.7"), "198.51.100.7"],
    ["two proxies", "10.0.0.1", list("198.51.100.7, 192.0.2.1"), "198.51.100.7"],
    ["what a caller made up before two proxies", "10.0.0.1", list("10.9.9.9, 198.51.100.7,192.0.2.1"), "198.51.100.7"],
    ["proxies all the way", "10.0.0.1", list("10.0.0.7, 10.0.0.2"), "10.0.0.7"],
    ["no address behind a proxy", "10.0.0.1", list("unknown, 10.0.0.2"), "10.0.0.2"],
    ["no address at all", "10.0.0.1", list("unknown"), "10.0.0.1"],
    ["an empty list", "10.0.0.1", list(""), "10.0.0.1"],
    ["a comma too many", "10.0.0.1", list("198.51.100.7,"), "10.0.0.1"],
    ["ports", "10.0.0.1", list("198.51.100.7:4711"), "198.51.100.7"],
    ["ports of IPv6", "10.0.0.1", list("[2001:db9::7]:4711"), "2001:db9::7"],
    ["IPv6 in brackets", "10.0.0.1", list("[2001:db9::7]"), "2001:db9::7"],
    ["by RFC 7239", "10.0.0.1", standard("for=198.51.100.7;proto=https;by=10.0.0.1"), "198.51.100.7"],
    ["in any case", "10.0.0.1", standard("Proto=https; FOR=198.51.100.7"), "198.51.100.7"],
    ["quoted", "10.0.0.1", standard('for="[2001:db9::7]:4711"'), "2001:db9::7"],
    ["quoted with a comma elsewhere", "10.0.0.1", standard('for=198.51.100.7;x="a,b;for=1.1.1.1"'), "198.51.100.7"],
    ["several elements", "10.0.0.1", standard("for=1.1.1.1, for=198.51.100.7, for=192.0.2.1"), "198.51.100.7"],
    ["a hidden one", "10.0.0.1", standard("for=198.51.100.7, for=_hidden"), "10.0.0.1"],
    ["an element without for", "10.0.0.1", standard("for=198.51.100.7, proto=https"), "10.0.0.1"],
    ["an open quote before the proxy's", "10.0.0.1", standard('for=", for=198.51.100.7'), "10.0.0.1"],
    ["both, the same", "10.0.0.1", { ...list("198.51.100.7"), ...standard("for=198.51.100.7") }, "198.51.100.7"],
    ["both, one of them made up", "10.0.0.1", { ...list("198.51.100.7"), ...standard("for=1.1.1.1") }, "10.0.0.1"],
  ])("%s", (_what, peer, headers, address) => {
    expect(addressOf(peer, headers)).toBe(address);
  });

  test("is the peer's where no proxy is trusted", () => {
    expect(addressOf("127.0.0.1", list("198.51.100.7"), [])).toBe("127.0.0.1");
  });

  test("is found soon in a header as long as they get", () => {
    const began = performance.now();
    expect(addressOf("10.0.0.1", list(`198.51.100.7${",10.0.0.1".repeat(1_700)}`))).toBe("198.51.100.7");
    expect(addressOf("10.0.0.1", standard(`${"a=b;".repeat(4_000)}for=198.51.100.7`))).toBe("198.51.100.7");
    expect(addressOf("10.0.0.1", standard(`${" ".repeat(16_000)}"`))).toBe("10.0.0.1");
    expect(performance.now() - began).toBeLessThan(200);
  });
});

describe("networks", () => {
  test.each<[network: string, inside: string, outside: string]>([
    ["10.0.0.0/8", "10.255.0.1", "11.0.0.1"],
    ["10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"],
    ["10.1.2.3", "10.1.2.3", "10.1.2.4"],
    ["fd00::/8", "fd12::1", "fe80::1"],
    ["::1", "0:0:0:0:0:0:0:1", "::2"],
    ["::ffff:192.168.0.0/112", "192.168.0.5", "192.169.0.5"],
    ["0.0.0.0/0", "203.0.113.9", "2001:db8::1"],
    ["203.0.113.9/32", "203.0.113.9", "203.0.113.8"],
  ])("%s", (network, inside, outside) => {
    const networks = new Networks([network]);
    expect([networks.has(inside), networks.has(outside), networks.has("")]).toEqual([true, false, false]);
  });
});
