import type { Metric, Subject } from "../model.ts";

/** A hash that names something claimed. Here 58 bits of it decide, in Redis 96. */
export interface Fingerprint {
  /** Decides the stripe (10 bits of it) and is not stored. */
  readonly place: number;
  /** 32 bits. */
  readonly low: number;
  /** 16 bits. */
  readonly high: number;
  /** 96 bits, 16 characters. */
  readonly text: string;
}

const digest = Buffer.alloc(64);
const TEXT_BYTES = 12;

/** SHA-256 of the parts, which hold no line ends. Costs 0.3 µs. */
function hash(parts: string): void {
  Bun.SHA256.hash(parts, digest);
}

function fingerprint(parts: string): Fingerprint {
  hash(parts);
  return {
    place: digest.readInt32LE(0),
    low: digest.readInt32LE(4),
    high: digest.readUInt16LE(8),
    text: digest.toString("base64url", 0, TEXT_BYTES),
  };
}

/** Somebody without a name, on one day: nothing leads back from it once the salt is forgotten. */
export function strangerOf(salt: string, { address, agent }: { address: string; agent: string }): string {
  hash(`${salt}\nvisitor\n${address}\n${agent}`);
  return digest.toString("base64url", 0, 32);
}

/** What a stranger (see `strangerOf`) claims. Two of them cannot be told to be of one visitor. */
export function strangerClaim(stranger: string, metric: Metric, subject: Subject): Fingerprint {
  return fingerprint(`${stranger}\n${metric.id}\n${subject}`);
}

/** What an actor claims. */
export function actorClaim(salt: string, metric: Metric, subject: Subject, actor: string): Fingerprint {
  return fingerprint(`${salt}\nactor\n${metric.id}\n${subject}\n${actor}`);
}

/** Where the outcome of a keyed act is remembered. */
export function keyName(key: string): Fingerprint {
  return fingerprint(`key\n${key}`);
}

/** 32 bits that stand for an act; never 0, which is nobody's. */
export function ownerOf(act: string): number {
  hash(act);
  return digest.readInt32LE(0) || 1;
}
