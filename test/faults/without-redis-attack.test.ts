import { expect, test } from "bun:test";
import { type Reply, useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import {
  ACTORS,
  FAN,
  LISTED,
  Memory,
  OLD,
  OnlyClient,
  pathOf,
  SHARED,
  SUBJECTS,
  TYPE,
} from "../support/only-client.ts";
import { type Random, random } from "../support/random.ts";
import { type StoreName, untilReady } from "../support/stores-away.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const ATTACK_MS = Number(process.env.ATTACK_MS ?? 30_000);
/** Acts that are left out, by name: to look for further mistakes behind a known one. */
const WITHOUT = new Set((process.env.WITHOUT ?? "").split(","));
const KILLS_MAX = 3;
/** "A store known to be away costs no answer more than 1 s", on a machine that does much else. */
const SLOW_MS = 1_900;
/** A store that hangs is known to be away after a second. */
const KNOWN_AFTER_MS = 2_000;

/** Node 0, its stores and its one client. */
class Attack {
  readonly nodes: TwoNodes;
  readonly dice: Random;
  readonly memory = new Memory();
  readonly eyes = new OnlyClient({
    memory: this.memory,
    api: () => this.#api(),
    timed: (asked, ms) => this.#timed(asked, ms),
  });
  readonly story: string[] = [];
  readonly wrong: string[] = [];
  readonly #began = performance.now();
  #keys: { subject: string; by: number; key: string }[] = [];
  #bodies: { key: string; body: string }[] = [];
  #changedMs = performance.now();
  #serial = 0;
  #past = Date.parse("2010-01-01T00:00:00Z");
  kills = 0;
  slowestMs = 0;

  constructor(nodes: TwoNodes, dice: Random) {
    this.nodes = nodes;
    this.dice = dice;
  }

  say(what: string): void {
    this.story.push(`${Math.round(performance.now() - this.#began)} ${what}`);
  }

  is(store: StoreName): boolean {
    return this.nodes.ways(0)[store].mode === "open";
  }

  fail(what: string): void {
    this.say(`WRONG ${what}`);
    this.wrong.push(what);
  }

  // Acts

  /** Until it is acknowledged: what was under way when the node was killed is sent again. */
  async #send(what: string, send: () => Promise<Reply>): Promise<Reply> {
    for (let tries = 0; ; tries++) {
      const since = performance.now();
      const reply = await Promise.resolve()
        .then(send)
        .catch(() => null);
      const ms = Math.round(performance.now() - since);
      this.say(`${what}: ${reply?.status ?? "broken off"} in ${ms} ms`);
      if (reply && (reply.status === 200 || reply.status === 202)) {
        this.#timed(what, ms);
        return reply;
      }
      if (reply) this.fail(`${what} was answered ${reply.text}`);
      if (tries === 200) throw new Error(`${what} is never answered`);
      await Bun.sleep(100);
    }
  }

  #timed(what: string, ms: number): void {
    if (performance.now() - ms - this.#changedMs < KNOWN_AFTER_MS) return;
    this.slowestMs = Math.max(this.slowestMs, ms);
    if (ms > SLOW_MS) this.fail(`${what} took ${ms} ms`);
  }

  readonly acts: Record<string, (subject: string, actor: string) => Promise<void>> = {
    relation: async (subject, actor) => {
      const metric = this.dice.pick(LISTED);
      await this.#relate(metric, subject, actor, this.dice.chance(0.6));
    },
    "relation twice": async (subject, actor) => {
      const active = this.dice.chance(0.6);
      const key = `relation ${++this.#serial}`;
      for (let i = 0; i < 2; i++) await this.#relate("likes", subject, actor, active, key);
    },
    follow: (_, actor) => this.#relate("follows", `user/${actor}`, FAN, this.dice.chance(0.7)),
    "old relation": async (subject) => {
      const active = this.dice.chance(0.5);
      const atMs = this.#past + this.dice.below(1_000_000);
      const at = new Date(atMs).toISOString();
      const path = `${pathOf(subject)}/likes/${encodeURIComponent(OLD)}`;
      await this.#send(`${active} at ${at} ${path}`, () =>
        this.#api()[active ? "put" : "delete"](path, { json: { at } }),
      );
      const known = this.memory.of("likes", subject, OLD).at;
      if (known === null || Date.parse(known) < atMs) this.memory.set("likes", subject, OLD, { active, at });
    },
    keyed: async (subject) => {
      const by = 1 + this.dice.below(9);
      const key = `views ${++this.#serial}`;
      await this.#add(subject, by, key);
      this.memory.views.set(subject, (this.memory.views.get(subject) ?? 0) + by);
      this.#keys.push({ subject, by, key });
    },
    "key again": async () => {
      if (this.#keys.length === 0) return;
      const { subject, by, key } = this.dice.pick(this.#keys);
      await this.#add(subject, by, key);
    },
    unkeyed: async () => {
      await this.#send("share", () => this.#api().post(`/v1/subjects/${SHARED}/shares`));
      this.memory.shares++;
    },
    body: (subject, actor) => this.#body(subject, actor),
    "keyed body": async (subject, actor) => {
      await this.#body(subject, actor, `body ${++this.#serial}`);
    },
    "body again": async () => {
      if (this.#bodies.length === 0) return;
      const { key, body } = this.dice.pick(this.#bodies);
      await this.#send(`body ${key} again`, () => this.#events(body, key));
    },
  };

  #api() {
    return this.nodes.api(0);
  }

  #events(body: string, key?: string): Promise<Reply> {
    const headers: Record<string, string> = { "content-type": "application/x-ndjson" };
    if (key !== undefined) headers["idempotency-key"] = key;
    return this.#api().post("/v1/events", { body, headers });
  }

  async #relate(metric: string, subject: string, actor: string, active: boolean, key?: string): Promise<void> {
    const path = `${pathOf(subject)}/${metric}/${encodeURIComponent(actor)}`;
    const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
    const reply = await this.#send(`${active ? "PUT" : "DELETE"} ${path}`, () =>
      this.#api()[active ? "put" : "delete"](path, { headers }),
    );
    // Whether the repeat of a key has moved it is not told.
    const at = active && key === undefined ? (reply.json.at ?? null) : null;
    this.memory.set(metric, subject, actor, { active, at });
  }

  async #add(subject: string, by: number, key: string): Promise<void> {
    const path = `${pathOf(subject)}/views`;
    await this.#send(`${by} views of ${subject} ${key}`, () =>
      this.#api().post(path, { json: { by }, headers: { "idempotency-key": key } }),
    );
  }

  async #body(subject: string, actor: string, key?: string): Promise<void> {
    const active = this.dice.chance(0.6);
    const hasActs = key === undefined || this.is("kafka");
    const tally =
      key === undefined ? { metric: "shares", subject: SHARED, by: 2 } : { metric: "views", subject, by: 3 };
    const acts = [!active, active].map((active) => ({ metric: "favorites", subject, actor, active }));
    const body = [tally, ...(hasActs ? acts : [])].map((line) => `${JSON.stringify(line)}\n`).join("");
    const { json } = await this.#send(`body ${key ?? "without a key"} on ${subject}`, () => this.#events(body, key));
    if (json.rejected !== 0) this.fail(`lines were rejected: ${JSON.stringify(json)}`);
    if (key === undefined) this.memory.shares += 2;
    else this.memory.views.set(subject, (this.memory.views.get(subject) ?? 0) + 3);
    if (hasActs) this.memory.set("favorites", subject, actor, { active, at: null });
    // Sent again it must not undo what was done since; with acts it is another story.
    if (key !== undefined && !hasActs) this.#bodies.push({ key, body });
  }

  // Troubles

  async trouble(): Promise<void> {
    const { dice } = this;
    // Most of the time only MySQL is there for sure.
    const usual = this.is("mysql") ? (this.is("redis") ? "redis" : "kafka") : "mysql";
    const store = dice.chance(0.4) ? usual : dice.pick(["redis", "kafka", "mysql", "node"] as const);
    if (store === "node") {
      if (this.kills === KILLS_MAX || !dice.chance(0.5)) return;
      this.kills++;
      this.say("node 0 is killed");
      // Those without a key may have counted, and would be counted again.
      const act = this.#act(["unkeyed", "body"]);
      await Bun.sleep(dice.below(8));
      await this.nodes.server(0).kill();
      await this.nodes.startNode(0);
      this.#changedMs = performance.now();
      this.say("node 0 is back");
      await act;
      await this.untilRead();
      if (!this.is("redis")) await this.check(SUBJECTS, ACTORS);
      return;
    }
    const way = this.nodes.ways(0)[store];
    if (way.mode !== "open") {
      if (store !== "redis" || dice.chance(0.6)) await this.heal(store);
      return;
    }
    const how = dice.pick(["cut", "hang"] as const);
    this.say(`${store}: ${how}`);
    const act = store === "mysql" ? this.#act() : this.act();
    await Bun.sleep(dice.below(8));
    await way[how]();
    this.#changedMs = performance.now();
    await act;
  }

  async heal(...stores: StoreName[]): Promise<void> {
    this.say(`healed: ${stores}`);
    await Promise.all(stores.map((store) => this.nodes.ways(0)[store].heal()));
    this.#changedMs = performance.now();
    await this.untilRead();
    const since = performance.now();
    // Threads come back in their own time.
    if (this.is("mysql")) await eventually(async () => expect(await this.eyes.wrongOf(SUBJECTS, ACTORS)).toEqual([]));
    this.say(`all is shown after ${Math.round(performance.now() - since)} ms`);
  }

  /** Every thread has MySQL back. */
  async untilRead(): Promise<void> {
    if (!this.is("mysql")) return;
    await eventually(async () => {
      for (let i = 0; i < 12; i++) {
        const answer = await fetch(new URL(`/v1/subjects/${TYPE}/none/likes?limit=1`, this.nodes.server(0).url), {
          keepalive: false,
        });
        expect(answer.status).toBe(200);
      }
    });
    this.say("MySQL is read");
  }

  /** One act, and what is shown of it. */
  async act(): Promise<void> {
    const [subject, actor] = await this.#act();
    if (!this.is("redis")) await this.check([subject], [actor]);
  }

  async check(subjects: readonly string[], actors: readonly string[]): Promise<void> {
    if (!this.is("mysql")) return;
    for (const each of await this.eyes.wrongOf(subjects, actors)) this.fail(each);
  }

  async #act(leftOut: readonly string[] = []): Promise<[subject: string, actor: string]> {
    const { dice } = this;
    const names = Object.keys(this.acts).filter((name) => !WITHOUT.has(name) && !leftOut.includes(name));
    const subject = dice.pick(SUBJECTS);
    const actor = dice.pick(ACTORS);
    await this.acts[dice.pick(names)]?.(subject, actor);
    return [subject, actor];
  }
}

const nodes = useOpened(() => TwoNodes.start());

test(`a node without Redis shows what its one client did, whatever befalls it (SEED=${SEED})`, async () => {
  const attack = new Attack(nodes(), random(SEED));
  const { dice, memory } = attack;
  await nodes().ways(0).redis.cut();
  try {
    for (const until = performance.now() + ATTACK_MS; performance.now() < until && attack.wrong.length === 0; ) {
      await (dice.chance(0.15) ? attack.trouble() : attack.act());
    }
    await attack.heal("redis", "kafka", "mysql");
    await untilReady(nodes().api(0));
    await eventually(async () => {
      const all = SUBJECTS.map((subject): [string, Record<string, number>] => [subject, memory.counts(subject)]);
      const users = ACTORS.map((actor) => [`user/${actor}`, { follows: Number(memory.follows(actor)) }] as const);
      for (const [subject, counts] of [...all, ...users, [SHARED, { shares: memory.shares }] as const]) {
        for (const node of [0, 1])
          expect((await nodes().api(node).get(pathOf(subject))).json.counts).toMatchObject(counts);
        for (const [metric, count] of Object.entries(counts)) expect(await nodes().stored(subject, metric)).toBe(count);
      }
      // What was answered in the last seconds without Redis is put there by nobody, and shows once the ledger has it.
      expect(await attack.eyes.wrongOf(SUBJECTS, ACTORS)).toEqual([]);
    });
    for (const each of await attack.eyes.wrongOf(SUBJECTS, ACTORS)) attack.fail(each);
  } catch (error) {
    attack.fail(String(error));
  }
  const { lines, stderr } = nodes().server(0);
  const errors = lines.filter(({ level }) => level === "error" || level === "fatal");
  if (attack.wrong.length > 0 || process.env.STORY) console.log(attack.story.join("\n"));
  expect({ wrong: attack.wrong, errors, stderr }).toEqual({ wrong: [], errors: [], stderr: "" });
  console.log(`${attack.eyes.checks} checks, ${attack.kills} kills, slowest ${attack.slowestMs} ms`);
}, 120_000);
