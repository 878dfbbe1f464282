/** What goes into the log: whoever sends chooses the partition. The key is only for people who look. */
export interface OutgoingMessage {
  partition: number;
  key: string;
  value: Buffer | null;
  headers?: Record<string, string>;
}

/** The longest message. Whoever makes frames begins another one before this. */
export const MESSAGE_BYTES_MAX = 900_000;
/**
 * kafkajs makes one record batch of all messages of a partition in a request, and Kafka's limit (max.message.bytes,
 * 1,048,588 unless somebody changed it) is for the batch.
 */
export const BATCH_BYTES_MAX = 1_000_000;
/** A broker takes 100 MiB in a request; this much goes through a slow line in a second. */
export const ROUND_BYTES_MAX = 8_000_000;
/** kafkajs copies the list of a partition's messages for each further one. */
const BATCH_MESSAGES_MAX = 500;
/** A record's own numbers: at most 5 varints, of length, time, offset and two sizes, and its header count. */
const RECORD_BYTES = 32;

/**
 * Cuts what is to be sent into requests that Kafka takes, in the order given. A message too long is a bug: RangeError.
 */
export function rounds<M extends OutgoingMessage>(messages: readonly M[]): M[][] {
  const all: M[][] = [];
  let round: M[] = [];
  let roundBytes = 0;
  const batches = new Map<number, { bytes: number; messages: number }>();
  for (const message of messages) {
    const bytes = bytesOf(message);
    if (bytes > BATCH_BYTES_MAX) throw new RangeError(`a message of ${bytes} bytes is too long for the log`);
    let batch = batches.get(message.partition);
    if (
      roundBytes + bytes > ROUND_BYTES_MAX ||
      (batch && (batch.bytes + bytes > BATCH_BYTES_MAX || batch.messages === BATCH_MESSAGES_MAX))
    ) {
      all.push(round);
      round = [];
      roundBytes = 0;
      batches.clear();
      batch = undefined;
    }
    if (!batch) batches.set(message.partition, { bytes, messages: 1 });
    else {
      batch.bytes += bytes;
      batch.messages++;
    }
    round.push(message);
    roundBytes += bytes;
  }
  if (round.length > 0) all.push(round);
  return all;
}

export function bytesOf({ key, value, headers }: OutgoingMessage): number {
  let bytes = RECORD_BYTES + (value?.length ?? 0) + Buffer.byteLength(key);
  for (const name in headers) bytes += Buffer.byteLength(name) + Buffer.byteLength(headers[name] ?? "") + 8;
  return bytes;
}
