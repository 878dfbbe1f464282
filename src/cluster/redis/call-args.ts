import type { Actor, Subject } from "../../model.ts";
import type { RegisterName, ShardCommit } from "../../ports/hot-store.ts";
import { countName, filterHashes, idHash } from "./names.ts";

/** The arguments of one script call: fields of the head that the script has to know, each once, and the rest. */
export class CallArgs {
  readonly #fields = new Set<string>();
  readonly #rest: string[] = [];

  push(...values: (string | number)[]): this {
    for (const value of values) this.#rest.push(typeof value === "string" ? value : String(value));
    return this;
  }

  /** Group, id and hash: how counts are named where their bases are looked for. */
  count(metric: number, subject: Subject): this {
    const slash = subject.indexOf("/");
    const id = subject.slice(slash + 1);
    const group = `${metric}:${subject.slice(0, slash)}`;
    this.#fields.add(group);
    this.#rest.push(group, id, String(idHash(id)));
    return this;
  }

  /** The name alone, of one whose base is looked for, too. */
  countName(metric: number, subject: Subject): this {
    const name = countName(metric, subject);
    this.#fields.add(name.slice(0, name.indexOf("/")));
    this.#rest.push(name);
    return this;
  }

  register({ metric, subject, actor }: RegisterName): this {
    const slash = subject.indexOf("/");
    this.#rest.push(`${metric}:${subject.slice(0, slash)}`, subject.slice(slash + 1), actor);
    return this.hashes(metric, subject, actor);
  }

  /** Of a register, for the filter. */
  hashes(metric: number, subject: Subject, actor: Actor): this {
    const [block, bits] = filterHashes(metric, subject, actor);
    this.#rest.push(String(block), String(bits));
    return this;
  }

  /** The script will ask whether this source's numbers are decided. */
  asks(source: string): this {
    this.#fields.add(`>${source}`);
    return this;
  }

  list(): string[] {
    return [String(this.#fields.size), ...this.#fields, ...this.#rest];
  }
}

export function advanceArgs(commit: ShardCommit): CallArgs {
  const args = new CallArgs().push(commit.incarnation, commit.version, commit.position);
  args.push(commit.last.length);
  for (const [source, n] of commit.last) args.push(source, n);
  args.push(commit.counts.length);
  for (const [metric, subject, count] of commit.counts) args.count(metric, subject).push(count);
  const { names = [], tallies = [] } = commit.past ?? {};
  args.push(names.length);
  for (const name of names) args.push(name);
  args.push(commit.groups.length);
  for (const [source, n] of commit.groups) args.push(source, n);
  args.push(commit.keys.length);
  for (const key of commit.keys) args.push(key);
  args.push(commit.registers.length);
  for (const [metric, subject, actor, stamp, past] of commit.registers) {
    if (past === undefined) args.push(countName(metric, subject));
    else args.countName(metric, subject);
    args
      .push(actor, stamp)
      .hashes(metric, subject, actor)
      .push(past ?? "");
  }
  args.push(tallies.length);
  for (const [metric, subject, amount] of tallies) args.countName(metric, subject).push(amount);
  return args;
}
