import { MESSAGE_BYTES_MAX } from "./kafka/rounds.ts";

/** A note is one message; its last record may be longer than what was left. */
export const NOTE_FRAME_BYTES = MESSAGE_BYTES_MAX - 1024;
