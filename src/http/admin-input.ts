import { z } from "zod";
import { COUNT_MAX } from "../model.ts";

// What administrators say. As in input.ts, unknown fields are refused.

const OBJECT = { error: "must be a JSON object" };
const TEXT = { error: "must be a string" };
const count = { error: `must be an integer from 0 to ${COUNT_MAX}` };

export const SetBody = z.strictObject({ count: z.int(count).min(0, count).max(COUNT_MAX, count) }, OBJECT);
export type SetInput = z.infer<typeof SetBody>;

/** Erasures: nothing, or an empty object. */
export const NoBody = z.strictObject({}, OBJECT);

export const MergeBody = z.strictObject({ from: z.string(TEXT), to: z.string(TEXT) }, OBJECT);
export type MergeInput = z.infer<typeof MergeBody>;
