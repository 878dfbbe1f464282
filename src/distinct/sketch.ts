import { type Code, codeOfRegister, PRECISION, placeOf, rankOf, registerOf } from "./code.ts";
import { estimateDense, estimateSparse } from "./estimate.ts";

const REGISTERS = 1 << PRECISION;
/** From here on a dense sketch is the smaller one on the disk. */
export const SPARSE_MAX = 3_072;
const SPARSE_MIN = 4;

const SPARSE = 1;
const DENSE = 2;
const DENSE_BYTES = 1 + (REGISTERS * 6) / 8;
/** Of a sketch as bytes. */
export const SKETCH_BYTES_MAX = Math.max(DENSE_BYTES, 1 + 4 * SPARSE_MAX);

/**
 * How many different visitors there were, in at most 16 KiB: HyperLogLog. It only takes maxima, so the same visitors in any
 * order, any number of times and by way of any number of merged sketches give the same sketch, to the byte.
 *
 *     sparse   codes sorted by their place, each place once: exact but for visitors who share one of 2^25
 *     dense    2^14 registers, from the 3,073rd place on; it never goes back
 */
export class Sketch {
  #codes: Int32Array | null = new Int32Array(SPARSE_MIN);
  #taken = 0;
  #registers: Uint8Array | null = null;
  /** −1: has to be made anew. */
  #count = 0;

  /** How many visitors, about. */
  get count(): number {
    if (this.#count < 0) {
      const estimate = this.#registers ? estimateDense(this.#registers) : estimateSparse(this.#taken);
      this.#count = Math.round(estimate);
    }
    return this.#count;
  }

  /** What it takes of memory. */
  get bytes(): number {
    return this.#registers ? REGISTERS : (this.#codes as Int32Array).byteLength;
  }

  get isDense(): boolean {
    return this.#registers !== null;
  }

  /** Whether `add` would change nothing. */
  has(code: Code): boolean {
    if (this.#registers) return (this.#registers[registerOf(code)] as number) >= rankOf(code);
    const at = this.#find(code);
    return at < this.#taken && samePlace(this.#codeAt(at), code) && this.#codeAt(at) >= code;
  }

  /** What a dense sketch has seen at the code's register: 0 where it is not dense. */
  rankAt(code: Code): number {
    return this.#registers ? (this.#registers[registerOf(code)] as number) : 0;
  }

  /** Whether it changed the sketch. */
  add(code: Code): boolean {
    const changed = this.#registers ? addTo(this.#registers, code) : this.#insert(code);
    if (changed) this.#count = -1;
    return changed;
  }

  /** Adds all that another one has seen; whether it changed the sketch. */
  merge(other: Sketch): boolean {
    let changed = false;
    if (other.isDense && !this.isDense) {
      this.#becomeDense();
      changed = true;
    }
    for (const code of other.codes()) if (this.add(code)) changed = true;
    return changed;
  }

  /** Codes that make this sketch when they are added to an empty one, but that it may stay sparse. */
  *codes(): Generator<Code> {
    const registers = this.#registers;
    if (registers) {
      for (let i = 0; i < REGISTERS; i++) {
        const rank = registers[i] as number;
        if (rank > 0) yield codeOfRegister(i, rank);
      }
    } else {
      for (let i = 0; i < this.#taken; i++) yield this.#codeAt(i);
    }
  }

  /**
   * As bytes, for a ledger: a form (1 sparse, 2 dense), then the codes in 32 bits each, low byte first, or the registers
   * in 6 bits each.
   */
  encode(): Uint8Array {
    const registers = this.#registers;
    if (!registers) {
      const bytes = Buffer.alloc(1 + 4 * this.#taken);
      bytes[0] = SPARSE;
      for (let i = 0; i < this.#taken; i++) bytes.writeInt32LE(this.#codeAt(i), 1 + 4 * i);
      return bytes;
    }
    const bytes = new Uint8Array(DENSE_BYTES);
    bytes[0] = DENSE;
    for (let i = 0, at = 1; i < REGISTERS; i += 4, at += 3) {
      const four =
        (registers[i] as number) |
        ((registers[i + 1] as number) << 6) |
        ((registers[i + 2] as number) << 12) |
        ((registers[i + 3] as number) << 18);
      bytes[at] = four & 0xff;
      bytes[at + 1] = (four >>> 8) & 0xff;
      bytes[at + 2] = four >>> 16;
    }
    return bytes;
  }

  /** Throws where the bytes are no sketch: a ledger that is damaged. */
  static decode(bytes: Uint8Array): Sketch {
    const sketch = new Sketch();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes[0] === SPARSE && bytes.length % 4 === 1 && bytes.length <= 1 + 4 * SPARSE_MAX) {
      sketch.#taken = (bytes.length - 1) / 4;
      sketch.#codes = new Int32Array(Math.max(SPARSE_MIN, sketch.#taken));
      for (let i = 0; i < sketch.#taken; i++) sketch.#codes[i] = view.getInt32(1 + 4 * i, true);
    } else if (bytes[0] === DENSE && bytes.length === DENSE_BYTES) {
      const registers = new Uint8Array(REGISTERS);
      for (let i = 0, at = 1; i < REGISTERS; i += 4, at += 3) {
        const four = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
        registers[i] = four & 63;
        registers[i + 1] = (four >>> 6) & 63;
        registers[i + 2] = (four >>> 12) & 63;
        registers[i + 3] = four >>> 18;
      }
      sketch.#registers = registers;
      sketch.#codes = null;
    } else {
      throw new Error(`${bytes.length} bytes of form ${bytes[0]} are no sketch: the ledger is damaged`);
    }
    sketch.#count = -1;
    return sketch;
  }

  #codeAt(i: number): Code {
    return (this.#codes as Int32Array)[i] as number;
  }

  /** Where the code's place stands, or would. */
  #find(code: Code): number {
    const place = placeOf(code);
    let low = 0;
    let high = this.#taken;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (placeOf(this.#codeAt(middle)) < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(code: Code): boolean {
    const at = this.#find(code);
    const codes = this.#codes as Int32Array;
    if (at < this.#taken && samePlace(this.#codeAt(at), code)) {
      if (this.#codeAt(at) >= code) return false;
      codes[at] = code;
      return true;
    }
    if (this.#taken === SPARSE_MAX) {
      this.#becomeDense();
      addTo(this.#registers as unknown as Uint8Array, code);
      return true;
    }
    const grown = this.#taken < codes.length ? codes : new Int32Array(2 * codes.length);
    if (grown !== codes) grown.set(codes.subarray(0, at));
    grown.set(codes.subarray(at, this.#taken), at + 1);
    grown[at] = code;
    this.#codes = grown;
    this.#taken++;
    return true;
  }

  #becomeDense(): void {
    const registers = new Uint8Array(REGISTERS);
    for (let i = 0; i < this.#taken; i++) addTo(registers, this.#codeAt(i));
    this.#registers = registers;
    this.#codes = null;
    this.#count = -1;
  }
}

function samePlace(a: Code, b: Code): boolean {
  return placeOf(a) === placeOf(b);
}

function addTo(registers: Uint8Array, code: Code): boolean {
  const register = registerOf(code);
  const rank = rankOf(code);
  if ((registers[register] as number) >= rank) return false;
  registers[register] = rank;
  return true;
}
