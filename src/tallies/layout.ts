import { murmur3 } from "../lib/hash.ts";

/**
 * The counter file: one header page, the slots, 14 words each, in whole pages, and then of every slot its tally, two words.
 * Little-endian words. A new meaning of any byte below is a new LAYOUT_VERSION: files of another version are refused.
 *
 * Adding to a counter and noting it write its tally alone. These words stand apart from the rest because the kernel brings
 * dirty pages of a file to the disk every half minute, and the next write to each then costs a fault of some 10 µs: with ten
 * million counters these are 20,000 pages, where tallies within slots of 64 bytes made it 156,000, and every second view on ten
 * million subjects met such a fault.
 */
const LAYOUT_VERSION = 2;
const PAGE_BYTES = 4096;
export const HEADER_BYTES = PAGE_BYTES;
export const HEADER_WORDS = HEADER_BYTES / 4;
export const SLOT_BYTES = 56;
export const SLOT_WORDS = SLOT_BYTES / 4;
export const TALLY_BYTES = 8;
export const TALLY_WORDS = TALLY_BYTES / 4;

/** Words of a tally. */
export const ADDS = 0;
export const NOTED = 1;

/** Words of a slot. */
export const META = 0;
export const LOW = 1;
export const HIGH = 2;
export const KEY = 3;

/** Bits of META. OWNER is the thread (its number + 1) that changes LOW, HIGH, the mark or LOADED; 0 is nobody. */
export const LIVE = 1 << 0;
export const LOADED = 1 << 1;
export const LEAVING = 1 << 2;
export const DEAD = 1 << 3;
export const OWNER_SHIFT = 4;
export const OWNER = 0x3f << OWNER_SHIFT;
const LENGTH_SHIFT = 10;
const METRIC_SHIFT = 18;
/** The two highest bits of the mark, the point of ADDS from which it counts on top of the base. */
export const MARK = 3 << 26;
/** What must match for a slot to be a key's. */
export const SAME_KEY = LIVE | DEAD | (0xff << LENGTH_SHIFT) | (0xff << METRIC_SHIFT);
export const lengthOf = (meta: number): number => (meta >>> LENGTH_SHIFT) & 0xff;
export const metricOf = (meta: number): number => (meta >>> METRIC_SHIFT) & 0xff;
export const markOf = (meta: number): number => (meta << 4) & 0xc0000000;
export const markBits = (mark: number): number => (mark >>> 4) & MARK;
export const metaOf = (metric: number, length: number): number =>
  LIVE | (length << LENGTH_SHIFT) | (metric << METRIC_SHIFT);

/**
 * Keys up to 44 bytes stand in their slot (`article/<UUID>` just fits). Of a longer one the slot holds 40 bytes and the
 * number of a continuation: a slot of the same pool whose META is the number of the next one shifted past all flags (so
 * it never looks LIVE), whose tally rests untouched, and whose other 13 words are key.
 */
export const INLINE_WORDS = SLOT_WORDS - KEY;
export const LONG_WORDS = INLINE_WORDS - 1;
export const LINK = SLOT_WORDS - 1;
export const REST_WORDS = SLOT_WORDS - LOW;
export const LINK_SHIFT = OWNER_SHIFT;

/** How many continuations a key of so many words needs. */
export const continuations = (words: number): number =>
  words <= INLINE_WORDS ? 0 : Math.ceil((words - LONG_WORDS) / REST_WORDS);

/** Threads that may use one table; fits OWNER. Thread 0 is main. */
export const THREADS_MAX = 62;
/** An ArrayBuffer ends at 4 GiB: all slots with their tallies, the header, and what fills a page. */
const SLOTS_MAX = 2 ** 26 - (2 * PAGE_BYTES) / (SLOT_BYTES + TALLY_BYTES);
/** Leaves one slot in ten for long keys and for slots between two owners. */
export const COUNTERS_MAX = 60_000_000;

/** Twice the counters, so that every one of them may have a key of 92 bytes; unused slots cost neither memory nor disk. */
export const slotsFor = (countersMax: number): number => Math.min(2 * countersMax + 1024, SLOTS_MAX);
/** Where the tallies begin in a file of so many slots. */
export const talliesAt = (slots: number): number =>
  HEADER_BYTES + Math.ceil((slots * SLOT_BYTES) / PAGE_BYTES) * PAGE_BYTES;
export const fileBytes = (slots: number): number => talliesAt(slots) + slots * TALLY_BYTES;

/** What a counter file says about itself. */
export interface TableHeader {
  countersMax: number;
  slots: number;
  /** 16 hex digits: the run that wrote the file, the source of its notes. */
  source: string;
  createdMs: number;
  bootId: string;
}

/** The same with what changed since: how far it got. */
export interface TableState extends TableHeader {
  /** Slots that have space on the disk. */
  allocated: number;
  /** Closed in order: the log has everything. */
  clean: boolean;
  /** The end of the last note whose slots all know of it. */
  notedPosition: number;
  /** When that was; 0 for never. */
  flushedAtMs: number;
}

const MAGIC = "TALLYCTR";
const AT = { magic: 0, version: 8, slotBytes: 12, countersMax: 16, slots: 20, source: 24, createdMs: 32, bootId: 40 };
const BOOT_ID_BYTES = 40;
const CHECKSUM_AT = AT.bootId + BOOT_ID_BYTES;
/** What changes while the file is in use, outside the checksum: two words and two doubles. */
export const ALLOCATED_WORD = 32;
export const CLEAN_WORD = 33;
export const NOTED_POSITION_DOUBLE = 17;
export const FLUSHED_AT_DOUBLE = 18;

export function encodeHeader(header: TableHeader): Buffer {
  const page = Buffer.alloc(HEADER_BYTES);
  page.write(MAGIC, AT.magic, "latin1");
  page.writeUInt32LE(LAYOUT_VERSION, AT.version);
  page.writeUInt32LE(SLOT_BYTES, AT.slotBytes);
  page.writeUInt32LE(header.countersMax, AT.countersMax);
  page.writeUInt32LE(header.slots, AT.slots);
  page.write(header.source, AT.source, "hex");
  page.writeDoubleLE(header.createdMs, AT.createdMs);
  page.write(header.bootId.slice(0, BOOT_ID_BYTES), AT.bootId, "latin1");
  page.writeInt32LE(murmur3(page, 0, CHECKSUM_AT, 0), CHECKSUM_AT);
  return page;
}

/** The header of a page, or what is wrong with it. */
export function decodeHeader(page: Buffer): TableState | string {
  if (page.length < HEADER_BYTES) return `is truncated: ${page.length} bytes, less than its header`;
  if (page.toString("latin1", AT.magic, AT.magic + MAGIC.length) !== MAGIC) return "is not a counter file of Tally";
  const version = page.readUInt32LE(AT.version);
  if (version !== LAYOUT_VERSION)
    return `has layout ${version}, and this version of Tally reads layout ${LAYOUT_VERSION}`;
  if (page.readInt32LE(CHECKSUM_AT) !== murmur3(page, 0, CHECKSUM_AT, 0)) return "has a damaged header (checksum)";
  const slotBytes = page.readUInt32LE(AT.slotBytes);
  const slots = page.readUInt32LE(AT.slots);
  if (slotBytes !== SLOT_BYTES) return `has slots of ${slotBytes} bytes, not ${SLOT_BYTES}`;
  if (slots === 0 || slots > SLOTS_MAX) return `claims ${slots} slots`;
  const allocated = page.readInt32LE(4 * ALLOCATED_WORD);
  if (allocated < 0 || allocated > slots) return `is damaged: it claims ${allocated} slots in use of ${slots}`;
  return {
    countersMax: page.readUInt32LE(AT.countersMax),
    slots,
    source: page.toString("hex", AT.source, AT.source + 8),
    createdMs: page.readDoubleLE(AT.createdMs),
    bootId: page.toString("latin1", AT.bootId, CHECKSUM_AT).replace(/\0+$/, ""),
    allocated,
    clean: page.readInt32LE(4 * CLEAN_WORD) === 1,
    notedPosition: page.readDoubleLE(8 * NOTED_POSITION_DOUBLE),
    flushedAtMs: page.readDoubleLE(8 * FLUSHED_AT_DOUBLE),
  };
}
