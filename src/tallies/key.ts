import { encodeUtf8 } from "../lib/utf8.ts";
import { SUBJECT_BYTES_MAX } from "../model.ts";

const WORDS_MAX = Math.ceil(SUBJECT_BYTES_MAX / 4) + 1;

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const mixed = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function final(subjectHash: number, metric: number): number {
  let hash = subjectHash ^ Math.imul(metric, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** The hash of a key whose subject is `bytes[from, to)` already: what `Key` makes of the text. */
export function hashOf(
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
  seed: number,
  metric: number,
): number {
  let hash = seed;
  let at = from;
  for (; at + 4 <= to; at += 4) hash = mix(hash, view.getInt32(at, true));
  if (at < to) {
    let last = 0;
    for (let shift = 0; at < to; at++, shift += 8) last |= (bytes[at] as number) << shift;
    hash = mix(hash, last);
  }
  return final(hash ^ (to - from), metric);
}

/** A subject as the table keeps it: UTF-8 in whole words, the last one filled with zeros, and its hash (murmur3 by words). */
export class Key {
  readonly words = new Int32Array(WORDS_MAX);
  readonly bytes = Buffer.from(this.words.buffer);
  length = 0;
  wordCount = 0;
  private hash = 0;
  private text = "";
  private readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** One pass over the characters; the same string again (another metric of one subject) costs nothing. */
  set(subject: string): void {
    if (subject === this.text) return;
    const length = subject.length;
    if (length > SUBJECT_BYTES_MAX) throw new Error(`a subject of ${length} characters reached the counter table`);
    const words = this.words;
    let hash = this.seed;
    let word = 0;
    let at = 0;
    let seen = 0;
    for (; at + 4 <= length; at += 4) {
      const a = subject.charCodeAt(at);
      const b = subject.charCodeAt(at + 1);
      const c = subject.charCodeAt(at + 2);
      const d = subject.charCodeAt(at + 3);
      seen |= a | b | c | d;
      const next = a | (b << 8) | (c << 16) | (d << 24);
      words[word++] = next;
      hash = mix(hash, next);
    }
    if (at < length) {
      let last = 0;
      for (let shift = 0; at < length; at++, shift += 8) {
        const code = subject.charCodeAt(at);
        seen |= code;
        last |= code << shift;
      }
      words[word++] = last;
      hash = mix(hash, last);
    }
    if (seen > 0x7f) {
      const bytes = encodeUtf8(subject, this.bytes, 0);
      if (bytes > SUBJECT_BYTES_MAX) throw new Error(`a subject of ${bytes} bytes reached the counter table`);
      this.setLength(bytes);
      this.rehash();
    } else {
      this.length = length;
      this.wordCount = word;
      this.hash = hash ^ length;
    }
    this.text = subject;
  }

  /** For a key that is then copied into `words`: clears the padding. Call rehash() when the words stand. */
  setLength(bytes: number): void {
    this.text = "";
    this.length = bytes;
    this.wordCount = (bytes + 3) >> 2;
    this.bytes.fill(0, bytes, 4 * this.wordCount);
  }

  rehash(): void {
    let hash = this.seed;
    for (let i = 0; i < this.wordCount; i++) hash = mix(hash, this.words[i] as number);
    this.hash = hash ^ this.length;
  }

  /** The hash of the subject with this metric. */
  hashWith(metric: number): number {
    return final(this.hash, metric);
  }
}
