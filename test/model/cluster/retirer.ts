import { type Context, copyLedgerShard, type LedgerShard, RETIRE_AFTER, SHARDS, type Steps } from "./state.ts";
import { AWAY, ask, type Client, found, isMissing, readLedger } from "./stores.ts";

/** Puts sources away of which nothing has come for long, one transaction each. */
export function* retirer(world: Context): Steps {
  const { ledger, random } = world;
  while (true) {
    for (let wait = random.below(random.pick([1, 30])); wait > 0; wait--) yield;
    yield;
    const all = new Set(ledger.shards.flatMap(({ last }) => [...last.keys()]));
    const names = [...all].filter((name) => isQuiet(world, name));
    if (ledger.away || world.isResting || names.length === 0) continue;
    const source = random.pick(names);
    const seen = [...ledger.shards];
    // The worst moment is when it has just spoken again.
    const isSame = () => ledger.shards.every(({ last }, shard) => last.get(source) === seen[shard]?.last.get(source));
    for (let wait = random.below(random.pick([1, 200])); wait > 0 && isSame(); wait--) yield;
    if (ledger.away || (world.rules.retireLocked && !isQuiet(world, source))) continue;
    ledger.shards = ledger.shards.map((state, shard) => {
      const last = (world.rules.retireLocked ? state : seen[shard])?.last.get(source);
      return without(world, state, source, last);
    });
  }
}

function isQuiet({ ledger, rules, wall }: Context, source: string): boolean {
  return !rules.retireQuiet || wall - (ledger.appliedAt.get(source) ?? 0) >= RETIRE_AFTER;
}

/** At the same version: what the ledger has decided is the same. */
function without({ rules }: Context, state: LedgerShard, source: string, last: number | undefined): LedgerShard {
  const next = copyLedgerShard(state);
  next.last.delete(source);
  if (last !== undefined) next.retired.set(source, last);
  else if (!rules.retireAdds) next.retired.delete(source);
  return next;
}

/** Has Redis forget the numbers of sources that have no row any more: read there, compared, and then dropped. */
export function* forgetter(world: Context, client: Client): Steps {
  const { ledger, random, rules } = world;
  while (true) {
    yield;
    for (let wait = random.below(random.pick([1, 2, 60])); wait > 0; wait--) yield;
    const shard = random.below(SHARDS);
    const early = rules.fieldsFirst ? null : yield* readLedger(world);
    for (let wait = random.below(random.pick([1, 2, 60])); wait > 0; wait--) yield;
    const known = yield* ask(world, client, (run) => {
      const copy = found(world, shard, run);
      return isMissing(copy) ? [] : [...copy.shard.last];
    });
    if (known === AWAY) continue;
    for (let wait = random.below(random.pick([1, 2, 60])); wait > 0; wait--) yield;
    const snapshot = early ?? (yield* readLedger(world));
    if (snapshot === AWAY) continue;
    const gone = known.filter(([source]) => snapshot.shards[shard]?.last.has(source) === false);
    const isSilent = () => gone.every(([source]) => ledger.shards[shard]?.last.has(source) === false);
    for (let wait = random.below(random.pick([1, 200])); wait > 0 && isSilent(); wait--) yield;
    for (let wait = random.below(random.pick([1, 10])); wait > 0; wait--) yield;
    yield* ask(world, client, (run) => {
      const copy = found(world, shard, run);
      if (isMissing(copy)) return;
      const { last } = copy.shard;
      for (const [source, n] of gone) if (!rules.forgetOnlyThose || (last.get(source) ?? 0) <= n) last.delete(source);
    });
  }
}
