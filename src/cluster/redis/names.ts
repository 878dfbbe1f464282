import { murmur3 } from "../../lib/hash.ts";
import { type Actor, ID_BYTES_MAX, SUBJECT_BYTES_MAX, type Subject } from "../../model.ts";

/** Room for any id's UTF-8. */
const scratch = Buffer.alloc(ID_BYTES_MAX * 3);

/** The names of keys and counts, made once where there are few of them. */
export class Names {
  readonly #shards: string[];
  readonly #actors: string[];
  readonly #visitors: string[];
  readonly salts: string;
  readonly agreed: string;

  constructor(prefix: string) {
    const hex = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));
    this.#shards = hex.map((digits) => `${prefix}:{${digits}}`);
    this.#actors = hex.map((digits) => `${prefix}:{a${digits}}`);
    this.#visitors = hex.map((digits) => `${prefix}:{v${digits}}`);
    this.salts = `${prefix}:{salts}`;
    this.agreed = `${prefix}:{agreed}`;
  }

  shard(shard: number): string {
    return this.#shards[shard] as string;
  }

  /** Claims of visitors, with the subject's shard for their tag. */
  visitors(shard: number): string {
    return this.#visitors[shard] as string;
  }

  /** Actors' hints are spread over 256 tags of their own; an actor's id stands behind the tag, braces and all. */
  bucketOf(actor: Actor): string {
    const length = scratch.utf8Write(actor, 0);
    return this.#actors[murmur3(scratch, 0, length, 0) & 255] as string;
  }
}

const HASH_MODULUS = 65_521;
const HASH_FACTOR = 32_719;

/**
 * Where an id stands among the buckets of its group; as in install.lua. Polynomial, and small enough that every product
 * is below 2^31: 0.1 µs here, and as cheap as can be in Lua. 65,521 buckets of each group and shard are a billion
 * counters.
 */
export function idHash(id: string): number {
  let hash = 1;
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i);
    if (code > 0x7f) return bytesHash(scratch.utf8Write(id, 0));
    hash = (hash * HASH_FACTOR + code) % HASH_MODULUS;
  }
  return hash;
}

function bytesHash(length: number): number {
  let hash = 1;
  for (let i = 0; i < length; i++) hash = (hash * HASH_FACTOR + (scratch[i] as number)) % HASH_MODULUS;
  return hash;
}

/** A count's name in the scripts. A subject is `type/id`, and types hold no colon. */
export function countName(metric: number, subject: Subject): string {
  return `${metric}:${subject}`;
}

export function parseCount(name: string): { metric: number; subject: Subject } {
  const colon = name.indexOf(":");
  return { metric: Number(name.slice(0, colon)), subject: name.slice(colon + 1) };
}

const REGISTER_BYTES_MAX = 3 * (ID_BYTES_MAX + SUBJECT_BYTES_MAX + 8);
const registerScratch = Buffer.alloc(REGISTER_BYTES_MAX);
const BLOCK_SEED = 0x9747b28c;
const BITS_SEED = 0x1b873593;

/** Where a register stands in its shard's filter: which block, and which bits of it. See filter.lua. */
export function filterHashes(metric: number, subject: Subject, actor: Actor): [block: number, bits: number] {
  const length = registerScratch.utf8Write(`${metric}:${subject}\n${actor}`, 0);
  return [murmur3(registerScratch, 0, length, BLOCK_SEED) >>> 0, murmur3(registerScratch, 0, length, BITS_SEED) >>> 0];
}
