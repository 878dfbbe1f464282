import { contribution, isNever, shown } from "../../../src/arithmetic/shard.ts";
import { isActive } from "../../../src/arithmetic/stamp.ts";
import type { World } from "../cluster.model.ts";
import { type Copy, isDecided, nameOf } from "./copy.ts";
import {
  countsOf,
  type KeyedRec,
  type LedgerShard,
  lastIn,
  likesOf,
  type Node,
  type Rec,
  registerOf,
  SHARDS,
} from "./state.ts";

/** What every script keeps true of a copy. */
export function copyProblems(world: World): string[] {
  const problems: string[] = [];
  for (let shard = 0; shard < SHARDS; shard++) {
    const copy = world.redis.copies[shard];
    const was = copy && world.past[shard]?.[copy.shard.version];
    if (copy && was) check(shard, world.redis.run, copy, was, problems);
    else if (copy) problems.push("a version the ledger never had");
  }
  return problems;
}

function check(index: number, run: number, copy: Copy, was: LedgerShard, problems: string[]): void {
  const { shard } = copy;
  const sums = new Map<string, number>();
  const add = (count: string, by: number) => sums.set(count, (sums.get(count) ?? 0) + by);
  for (const [name, entry] of shard.relations) {
    if (isActive(entry.under) !== isActive(was.registers.get(name) ?? 0))
      problems.push("an entry rests on another bit");
    add(entry.count, contribution(entry));
  }
  if (copy.run === run && shard.bases.size > 0 && shard.version < copy.renewedAt)
    problems.push("a base is older than the ledger was when Redis came back");
  for (const [count, value] of shard.bases)
    if ((was.counts.get(count) ?? 0) !== value) problems.push("a base is not its version's");
  for (const group of copy.groups.values()) {
    if (group.from <= lastIn(was, group.source)) problems.push("a group is in base and overlay");
    for (const [count, amount] of group.amounts) add(count, amount);
  }
  for (const [name, stamp] of was.registers)
    if (stamp > 0 && isNever(shard, name)) problems.push("the filter lacks a register");
  const keys = new Set<string>();
  for (const entry of copy.keyed.values()) {
    if (was.keys.has(entry.key) || keys.has(entry.key)) problems.push("a key is in base and overlay, or twice");
    keys.add(entry.key);
    add(entry.count, entry.amount);
  }
  for (const count of [...countsOf(index), likesOf(index)])
    if ((sums.get(count) ?? 0) !== (shard.sums.get(count) ?? 0)) problems.push("a sum is not its overlay's");
}

/** What a node takes for put is there, in the epoch it knows. */
export function putProblems(world: World): string[] {
  const problems: string[] = [];
  for (const node of world.nodes)
    for (const [frame, memo] of node.memo)
      for (const rec of frame.records) {
        const copy = world.redis.copies[rec.shard];
        if (!copy || !memo.put.has(rec.shard) || copy.run !== world.redis.run) continue;
        if (copy.shard.epoch === node.epochs[rec.shard] && !isThere(world, node, copy, rec))
          problems.push("a put is missing");
      }
  return problems;
}

function isThere(world: World, node: Node, copy: Copy, rec: Rec): boolean {
  const { shard } = copy;
  // The node has found it in the ledger, and reads nothing from a copy that is older than that.
  const isOld = shard.version < (node.seenVersion[rec.shard] ?? 0);
  if (isOld && rec.n <= lastIn(world.ledger.shards[rec.shard], rec.source)) return true;
  if (isDecided(shard, rec) || rec.n <= lastIn(world.past[rec.shard]?.[shard.version], rec.source)) return true;
  if (rec.kind === "tally") return copy.groups.has(`${rec.source}:${rec.n}`);
  const was = world.past[rec.shard]?.[shard.version];
  if (rec.kind === "keyed") return was?.keys.has(rec.key) || copy.keyed.has(nameOf(rec, world.rules));
  const name = registerOf(rec);
  return Math.max(shard.relations.get(name)?.stamp ?? 0, was?.registers.get(name) ?? 0) >= rec.stamp;
}

/** The truth: what was added and not lost, keys once, active registers. */
export function expectedCounts(world: World): Map<string, number> {
  const counts = new Map(world.added);
  const keys = new Map<string, KeyedRec>();
  for (const rec of world.records) if (rec.kind === "keyed") keys.set(rec.key, rec);
  for (const { count, amount } of keys.values()) counts.set(count, (counts.get(count) ?? 0) + amount);
  for (const [register, stamp] of world.best) {
    const name = likesOf(Number(register[0]));
    if (isActive(stamp)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

export function shownInRedis(world: World, count: string): number | null {
  const copy = world.redis.copies[Number(count[0])];
  return copy ? shown(copy.shard, count) : null;
}
