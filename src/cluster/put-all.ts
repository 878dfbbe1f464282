import type { HotStore, Missing, RelationAnswer, RelationPut } from "../ports/hot-store.ts";

export interface Put {
  shard: number;
  event: RelationPut;
}

/** Puts events in one call, those of a shard together; the answers are in the events' order. */
export async function putAll(hot: HotStore, puts: readonly Put[]): Promise<(RelationAnswer | Missing)[]> {
  const byShard = new Map<number, { shard: number; events: RelationPut[]; places: number[] }>();
  for (const [i, { shard, event }] of puts.entries()) {
    let there = byShard.get(shard);
    if (!there) {
      there = { shard, events: [], places: [] };
      byShard.set(shard, there);
    }
    there.events.push(event);
    there.places.push(i);
  }
  const groups = [...byShard.values()];
  const answers = await hot.putRelations(groups);
  const results: (RelationAnswer | Missing)[] = new Array(puts.length);
  for (const [g, { places }] of groups.entries()) {
    const answer = answers[g] as RelationAnswer[] | Missing;
    for (const [i, place] of places.entries()) {
      results[place] = typeof answer === "string" ? answer : (answer[i] as RelationAnswer);
    }
  }
  return results;
}
