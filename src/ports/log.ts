/**
 * A place in the log: how many bytes of frames stand before it since the log began. Rises for ever, exact to 2^53.
 */
export type Position = number;

export interface LoggedFrame {
  bytes: Buffer;
  /** Where the next frame begins: what a reader stores once it has applied this one. */
  next: Position;
}

/**
 * Reads committed frames in their order.
 *
 * Promises: frames come whole, in order, each once for each pass; nothing that is not yet durable is seen; a position that
 * the log no longer holds throws (what was trimmed had been applied, so only a mixed-up data directory asks for it).
 */
export interface LogReader {
  /** Frames from `from` up to the committed head, about `bytesMax` of them; empty at the head. */
  read(from: Position, bytesMax: number): LoggedFrame[];
  /** The oldest position that is still there. */
  start(): Position;
  close(): void;
}
