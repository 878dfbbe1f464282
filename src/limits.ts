/**
 * Every bound in one place, with its reason. What does not fit is refused with 503, never dropped.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Bytes of a JSON body: the longest legal one is below 1 KiB. */
export const JSON_BODY_BYTES_MAX = 64 * KiB;

/** A page: subjects of one request. */
export const PAGE_SUBJECTS_MAX = 1_000;
/**
 * A page's body: 1,000 subjects of 161 bytes, each of which may be an escape of six, with quotes and comma (969,000); 255
 * metrics of 32 in the same way (50,000); an actor and the names of the fields (1,000).
 */
export const PAGE_BODY_BYTES_MAX = 1 * MiB;
/** Errors that are told of one body, which may hold 80,000. */
export const INPUT_ERRORS_MAX = 100;
/** Actors whom a page names of those whom somebody follows. */
export const KNOWN_NAMES = 3;
/**
 * Registers and rows that the answer to "whom I follow" may look at, about a microsecond each: half a second for one who
 * follows 100,000 and asks for four lists with millions of actors. A page of a hundred posts takes thousands.
 */
export const KNOWN_LOOKS_MAX = 500_000;
/**
 * Answers that take more looks are found a slice at a time, so that the thread's other requests wait for a slice and not for all
 * of it. One after the other, each on a snapshot of the ledger of its own; those that wait cost a page's body each.
 */
export const KNOWN_LOOKS_AT_ONCE = 4_000;
export const KNOWN_SLICE_MS = 4;
export const KNOWN_WAITING_MAX = 32;

/** Subjects that one page of the list of all looks at: where so many in a row show nothing (deleted ones), it ends early. */
export const COUNTED_LOOKS_MAX = 10_000;

/**
 * Above every bound of ours: Bun's own 413 is a bare one, without a problem or a request id. No body is read further than
 * its route's bound, and where a route reads none Bun closes the connection.
 */
export const REQUEST_BYTES_MAX = 2 ** 50;

/** A body of events. It is never held: the bound only keeps one caller from staying for ever. */
export const EVENT_BODY_BYTES_MAX = 256 * MiB;
/** A line of events: subject and actor of 128 bytes, each byte written as \u00xx, fit twice. */
export const EVENT_LINE_BYTES_MAX = 4 * KiB;
/** Lines that a thread works on without looking up: about a millisecond. */
export const EVENT_SLICE_BYTES = 64 * KiB;
/** Bad lines of a body that are named. */
export const EVENT_ERRORS_MAX = 100;
/** Acts of one body that wait for the disk together. A frame takes some thousands; these are enough to fill its wait. */
export const EVENT_ACTS_UNDER_WAY_MAX = 512;

/** A log file. Small enough that a blog's data directory stays small, large enough to be changed every few seconds only. */
export const LOG_FILE_BYTES = 16 * MiB;
/** Records in one note of the flusher: 100,000 × at most 240 bytes would not fit a file, so notes are cut by bytes too. */
export const NOTE_RECORDS_MAX = 100_000;
export const NOTE_BYTES_MAX = 8 * MiB;
/** Acts that the writer takes into one frame. 64 connections fill about 60; thousands arrive only after a stall. */
export const BATCH_ACTS_MAX = 4_096;

/** A worker's ring of acts to the writer. */
export const RING_BYTES = 1 * MiB;
/** Acts of one worker that are under way: beyond, 503. The reply ring has as many places, so a reply always has one. */
export const ACTS_UNDER_WAY_MAX = 8_192;
/** The longest subject (161 bytes), and what TextEncoder wants to be safe. */
export const SUBJECT_SCRATCH_BYTES = 192;

/** The longest act in a ring: head, ids of 161 and 128 bytes, key. */
export const ACT_BYTES_MAX = 384;
/** How long an act may wait for the disk, or for room, before its caller is told 503. */
export const ACT_WAIT_MS_MAX = 5_000;

/** A job is looked after this often while the ledger does it; where it cannot be written the caller is told 202 then. */
export const JOB_LATE_MS = 5_000;
/** A merge of a million actors takes the ledger some 13 s; beyond this the caller is told that it goes on by itself. */
export const JOB_WAIT_MS_MAX = 120_000;
/** The same in a cluster, where the projector may be another node's and nobody says that it is at work. */
export const SHARED_JOB_MS_MAX = 60_000;
/** Counts that the writer works out again between two batches of acts: about 3 ms. */
export const RECOUNTS_AT_ONCE = 100;

/**
 * Records in the log that the ledger does not have yet, held in memory for reads: 24 generations, about 110 MiB when full of
 * short ids, and 138 at most.
 */
export const OVERLAY_GENERATIONS = 24;
export const OVERLAY_GENERATION_RECORDS = 65_536;
export const OVERLAY_GENERATION_BYTES = 5 * MiB;

/**
 * Idempotency keys remembered, for 10 minutes each: 1,600 keyed acts a second, or blocks of uploads (a body has 1,000 to 7,000
 * as a rule, 65,536 of empty lines). About 200 MiB when full. In a cluster a node remembers its own, which its stores have as
 * well: beyond, the oldest go, and are unknown only while a store is away.
 */
export const KEYS_MAX = 1_000_000;
export const KEYS_MS = 10 * 60 * 1000;

/**
 * Sketches of distinct tallies in memory, two for each subject: 4,000 subjects with many visitors, 100,000 with few. Those
 * that the ledger has leave for others; beyond, while none may leave, 503.
 */
export const SKETCHES_BYTES_MAX = 64 * MiB;
/**
 * Uploads whose numbers are remembered, each for so long after its last line was logged: a key's 10 minutes, and as much again
 * for a repeat that was long on its way. 2 KiB each in the writer and in the projector, 40 MiB when full.
 */
export const UPLOADS_MAX = 10_000;
export const UPLOAD_KEPT_MS = 2 * KEYS_MS;
/** The ledger keeps their numbers for longer: what still comes of a source must never meet it forgotten. */
export const UPLOAD_STORED_MS = 2 * UPLOAD_KEPT_MS;
/** That of a cluster packs them when nothing has come of an upload for so long, and keeps them as long as the log, and a day. */
export const UPLOAD_SHARED_MS = 6 * 60 * 60 * 1000;
/**
 * A node's source of which nothing has come for the log's retention and so much more retires: far longer than anything takes
 * from the log into Redis, however the clocks of the stores and nodes differ.
 */
export const RETIRE_MARGIN_MS = 24 * 60 * 60 * 1000;
/**
 * What of one shard may be on its way where all of it has to be looked through: to bring a copy up to the ledger, or of one list
 * to show it. Redis takes 7 µs for each of them and answers nobody else meanwhile, and counts as away after a second.
 */
export const ON_THE_WAY_MAX = 50_000;
/**
 * Different counts of one shard on their way, for the list of all subjects, which asks all 256 of them: half a million counts, some
 * 100 MB in a request. With a projector that keeps up it is what all nodes count in a second or two.
 */
export const COUNTS_ON_THE_WAY_MAX = 2_000;
/**
 * What a node shows of its own acts while Redis is away: the newest that are in the last so many bytes of its outbox (some 100 MB
 * in memory). Of a subject or an actor the newest of these, which are looked up in MySQL; a count that more are on their way to
 * is shown without them.
 */
export const OWN_ACTS_MAX = 50_000;
export const OWN_ACTS_BYTES = 8 * MiB;
export const OWN_ACTS_LISTED = 5_000;
/** An upload counts block by block, cut by its bytes alone, so that whoever sends it again cuts at the same lines. */
export const UPLOAD_BLOCK_LINES = 4_096;
export const UPLOAD_BLOCK_BYTES = 256 * KiB;

/** How often main looks after table and log when nobody presses it, when somebody does, and for how long at once. */
export const TEND_MS = 200;
export const TEND_SOON_MS = 5;
export const TEND_WORK_MS = 10;
/** How often the log's old files are given up. */
export const TRIM_EVERY_MS = 2_000;
/** What the last run left in the log is brought into the ledger before the server listens; this is a broken ledger. */
export const CATCH_UP_MS_MAX = 600_000;

/** The longest list of a ranking, as the contract says. */
export const TOP_LENGTH = 100;
/** Different rankings (metric, type, window) kept up to date because somebody asks for them: each is a look at all subjects. */
export const TOP_LISTS_MAX = 1_000;
/** A ranking is at most two seconds behind; one that is older than this is not told any more. */
export const TOP_AGE_MS_MAX = 5_000;
/** How long the first who asks for a ranking waits for it. */
export const TOP_WAIT_MS_MAX = 2_000;
/**
 * Rankings of more subjects than these (220 MB of sums, more than a core's tenth at 50,000 views a second) are only kept while
 * somebody asks for some: at least once a day, so that a daily report finds them.
 */
export const RANKED_UNASKED_MAX = 1_250_000;
export const RANKED_UNASKED_MS = 25 * 60 * 60 * 1000;

/** Points of a history in one answer: the contract says so. */
export const HISTORY_POINTS_MAX = 1_000;
/** A century: whoever keeps history so long never folds any. */
export const HISTORY_DAYS_MAX = 36_500;

/** How long `tally verify` waits for a flush to reach the ledger before it looks all the same. */
export const SETTLE_MS_MAX = 10_000;

/** How far an import may be ahead of the ledger in the log, and how long it waits for room: the ledger lags by seconds at most. */
export const IMPORT_AHEAD_BYTES = 64 * MiB;
export const IMPORT_WAIT_MS_MAX = 60_000;
/** Frames of up to 1,000 records that an import sends into a cluster's log before it waits for those before them. */
export const IMPORT_WINDOW_FRAMES = 20;

/** How long requests under way may take after SIGTERM; the whole stop has 10 s. */
export const DRAIN_MS_MAX = 5_000;
/** A whole stop; the contract says 10 s. */
export const STOP_MS_MAX = 9_500;
/** A worker that died is replaced after 50 ms, then twice as long each time, up to this; a minute of life resets it. */
export const WORKER_BACKOFF_MS_MAX = 5_000;

/** A look at the shared stores: "a store known to be away costs no answer more than 1 s", and this is how it gets known. */
export const LOOK_MS_MAX = 800;
/** How long an answer waits for shards that come to rest while no store is away: 202 is never merely for a lag under 5 s. */
export const LAG_MS_MAX = 5_000;
/** Looks that travel together, and acts that a worker sends to the log at once. */
export const LOOKS_AT_ONCE = 512;
/** Subjects whose counts a worker keeps of each shard, for as long as it shows the same: at most some 30 MB in all. */
export const SHOWN_SUBJECTS_MAX = 512;
/** Acts of one worker under way in a cluster: beyond, 503. */
export const SHARED_ACTS_MAX = 16_384;

/**
 * Turns of visitors remembered for `unique` (one for each visitor and subject), in stripes of buckets, doubling from 16,384 to
 * 33,538,048 as they come: 16 bytes each, so 512 MiB when full. What is over makes room. While all still hold, another
 * visitor's event is 503: nobody counts twice.
 */
export const VISITOR_STRIPES = 1_024;
export const VISITOR_WAYS = 16;
export const VISITOR_LEVELS = 11;
/** Of a User-Agent that is looked at for robots; a browser's has about 120 characters. */
export const AGENT_CHARACTERS_MAX = 1_024;
/** User-Agents of which a thread remembers whether they are robots: below 2 MiB. */
export const AGENTS_MAX = 1_000;
/** Salts are compared with the other nodes' so often, since Redis may lose them. */
export const SALTS_AGREE_MS = 60_000;
/** Streams of one worker: beyond, 503. Each is a connection and some kilobytes. */
export const STREAMS_MAX = 10_000;
/** Counts that a worker's streams follow, all together: beyond, 503. About 300 bytes each, so 150 MiB when full. */
export const STREAM_PLACES_MAX = 500_000;
/** How often a stream is sent what has changed. 5 a second, and some more, lest lateness of one make six in a second. */
export const STREAM_EVERY_MS = 210;
/** Counts that a round reads at once, some 2 ms of its thread or one round trip; requests come between. */
export const STREAM_READS_AT_ONCE = 2_500;
/** Counts a second that one worker's streams ask of shared stores: with more to read the rounds come later. */
export const STREAM_READS_PER_S_MAX = 20_000;
/** How long the sending at a round's end keeps the requests of its thread waiting. */
export const STREAM_SLICE_MS = 2;
/** The longest text given to a connection at once; more waits until it is taken. */
export const STREAM_CHUNK_CHARACTERS = 64 * KiB;
/** A comment comes that often, and a reader that takes nothing for so long is cut off. */
export const STREAM_BEAT_MS = 15_000;
export const STREAM_STALL_MS_MAX = 30_000;
/** What an ended stream's reader has not taken after so many seconds is thrown away with the connection. */
export const STREAM_END_S = 10;

/** A webhook's URL: with a subject and numbers it is a key in MySQL, which has 3,072 bytes. */
export const WEBHOOK_URL_BYTES_MAX = 1_024;
/** How long a receiver may take to answer, and how many milestones are on their way to one at once. */
export const WEBHOOK_MS_MAX = 15_000;
export const WEBHOOKS_AT_ONCE = 4;

function must(holds: boolean, relation: string): void {
  if (!holds) throw new Error(`limits.ts: ${relation} does not hold`);
}
must(PAGE_SUBJECTS_MAX * 969 + 255 * 195 + 2 * KiB < PAGE_BODY_BYTES_MAX, "the longest legal page fits its body");
must(NOTE_BYTES_MAX + 64 * KiB < LOG_FILE_BYTES, "a note fits a log file");
must(BATCH_ACTS_MAX * ACT_BYTES_MAX < LOG_FILE_BYTES, "a batch fits a log file");
must(UPLOAD_BLOCK_LINES <= OVERLAY_GENERATION_RECORDS, "a block fits a generation");
must(BATCH_ACTS_MAX <= OVERLAY_GENERATION_RECORDS, "a batch fits a generation");
must(BATCH_ACTS_MAX * ACT_BYTES_MAX < OVERLAY_GENERATION_BYTES, "a batch's bytes fit a generation");
must(EVENT_ACTS_UNDER_WAY_MAX * 4 < ACTS_UNDER_WAY_MAX, "some bodies of events leave room for single acts");
must(EVENT_LINE_BYTES_MAX < EVENT_SLICE_BYTES, "a slice holds a line");
must(ACTS_UNDER_WAY_MAX * 64 < RING_BYTES, "the ring holds all short acts under way");
