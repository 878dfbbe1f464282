import { unavailable } from "../errors.ts";
import type { Page } from "../ports/counting.ts";
import { type HotStore, HotStoreAway, type PastMoves, type PastPlace, type PastSpan } from "../ports/hot-store.ts";
import { shift, type Watched } from "./watched.ts";

/** Counts of one read, subject by subject, and what was read. */
export interface Read {
  watched: readonly (readonly Watched[])[];
  page: Page;
}

/** A count whose shard has moved by acts of another time since it was read before. */
interface Moved {
  watched: Watched;
  from: PastPlace;
  to: PastPlace;
}

/**
 * Takes out of followed counts what has moved them and is no news, in a cluster: each count comes with its place in what its
 * shard tells of that, and what lies between the last place and this one is just what the new count has more of it. To be called
 * before the new counts are taken. What is not known any more, as the store has lost or forgotten it, is told as if it were of now.
 * Rejects with `unavailable` where the store cannot be asked: then the new counts must not be taken, and the next read finds all
 * that was told since the last one that was.
 */
export async function leaveOutPast(
  reads: readonly Read[],
  { pastSince, failed }: { pastSince: HotStore["pastSince"]; failed(error: unknown): void },
): Promise<void> {
  const moved = reads.flatMap(movedOf);
  if (moved.length === 0) return;
  const spans = new Map<string, PastSpan>();
  for (const { from, to } of moved) {
    const span = spans.get(spanOf(to)) ?? { shard: to.shard, epoch: to.epoch, from: from.number, to: to.number };
    span.from = Math.min(span.from, from.number);
    span.to = Math.max(span.to, to.number);
    spans.set(spanOf(to), span);
  }
  const answers = await pastSince([...spans.values()]).catch((error) => {
    if (error instanceof HotStoreAway) throw unavailable("Redis is away: open the stream again when it is back");
    failed(error);
    return [];
  });
  const told = new Map(Array.from(spans.keys(), (name, i) => [name, byCount(answers[i] ?? null)]));
  for (const { watched, from, to } of moved) {
    const { first = Number.POSITIVE_INFINITY, moves } = told.get(spanOf(to)) ?? {};
    if (first > from.number + 1) continue;
    for (const [number, by] of moves?.get(`${watched.metric.id}:${watched.subject}`) ?? []) {
      if (number > from.number && number <= to.number) shift(watched, by);
    }
  }
}

function movedOf({ watched, page: { places } }: Read): Moved[] {
  if (!places) return [];
  const moved: Moved[] = [];
  for (const [i, each] of watched.flat().entries()) {
    const [from, to] = [each.place, places[i] ?? null];
    if (from && to && from.epoch === to.epoch && from.number < to.number) moved.push({ watched: each, from, to });
  }
  return moved;
}

function byCount(
  answer: PastMoves | null,
): { first: number; moves: Map<string, [number: number, by: number][]> } | null {
  if (answer === null) return null;
  const { first } = answer;
  const moves = new Map<string, [number, number][]>();
  for (const [i, [count, by]] of answer.moves.entries()) {
    const known = moves.get(count);
    if (known) known.push([first + i, by]);
    else moves.set(count, [[first + i, by]]);
  }
  return { first, moves };
}

function spanOf({ shard, epoch }: PastPlace): string {
  return `${shard} ${epoch}`;
}
