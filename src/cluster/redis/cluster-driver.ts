import { Cluster } from "ioredis";
import { StartError } from "../../errors.ts";
import { HotStoreAway } from "../../ports/hot-store.ts";
import { ClusterNode } from "./cluster-node.ts";
import {
  ANSWER_MS_MAX,
  backoffMs,
  type Driver,
  type DriverState,
  isNoScript,
  LOOK_EVERY_MS,
  messageOf,
  type Reply,
  replyError,
  type ScriptCall,
  StateKeeper,
  within,
} from "./driver.ts";
import { refusalError } from "./server.ts";
import { SLOTS, slotOf } from "./slots.ts";

/** Another try may do: the slot is elsewhere, on its way, or its cluster is electing. */
const MOVES = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN|READONLY)\b/;
const TRY_AGAIN_MS = 50;
/** Below ANSWER_MS_MAX, so that the answer says what the cluster said. */
const TRY_MS_MAX = ANSWER_MS_MAX - 2 * TRY_AGAIN_MS;

/**
 * A Redis Cluster. ioredis keeps the map of slots and the connections; the calls go to the masters directly, one
 * pipeline each, since a redirection must not carry the identity of one node to another: the script would take a
 * promoted replica for the node that it replaces.
 *
 * up: all masters answer, and all slots are served. Else the map is read and the masters are tried again, with a
 * back-off; meanwhile calls to those that do answer go on.
 */
export class ClusterDriver implements Driver {
  readonly #cluster: Cluster;
  readonly #keeper = new StateKeeper();
  readonly #slots = new Map<string, number>();
  #nodes = new Map<string, ClusterNode>();
  /** Nodes that have failed, until the next look has found them well. */
  readonly #failed = new Set<string>();
  #problem: StartError | null = null;
  /** What a node has said last when it refused to tell its slots. */
  #nodeError = "";
  #attempts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looking: Promise<void>;
  #closed = false;

  constructor(url: string) {
    const { nodes, username, password } = parse(url);
    this.#cluster = new Cluster(nodes, {
      enableReadyCheck: false,
      enableOfflineQueue: false,
      slotsRefreshTimeout: ANSWER_MS_MAX,
      clusterRetryStrategy: backoffMs,
      redisOptions: {
        connectTimeout: ANSWER_MS_MAX,
        maxRetriesPerRequest: 0,
        disableClientInfo: true,
        ...(username ? { username } : {}),
        ...(password ? { password } : {}),
      },
    });
    // What goes wrong shows where it is asked; without a listener an "error" event would end the process.
    this.#cluster.on("error", () => {});
    this.#cluster.on("node error", (error) => {
      this.#nodeError = messageOf(error);
    });
    this.#looking = this.#look();
  }

  get state(): DriverState {
    return this.#keeper.state;
  }

  onState(listener: (state: DriverState) => void): void {
    this.#keeper.onState(listener);
  }

  run(calls: readonly ScriptCall[]): Promise<Reply[]> {
    return within(this.#run(calls), "an answer of Redis Cluster");
  }

  async #run(calls: readonly ScriptCall[]): Promise<Reply[]> {
    const answers: unknown[] = new Array(calls.length);
    const until = performance.now() + TRY_MS_MAX;
    let open = calls.map((_, i) => i);
    for (;;) {
      open = await this.#round(calls, open, answers);
      if (open.length === 0) return answers as Reply[];
      if (performance.now() > until) {
        const error = answers[open[0] as number];
        throw new HotStoreAway(`Redis Cluster: ${messageOf(error)}`);
      }
      await Bun.sleep(TRY_AGAIN_MS);
      await this.#refreshSlots().catch((error) => {
        throw new HotStoreAway(messageOf(error));
      });
    }
  }

  async refresh(): Promise<void> {
    // A node that fails is away from here on; the shards of the others can be asked all the same.
    await Promise.allSettled(this.#masters().map((node) => this.#guarded(node, () => node.look())));
  }

  async checkServer(): Promise<void> {
    await this.#looking;
    if (!this.state.up) throw this.#problem ?? new HotStoreAway(this.state.reason);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#cluster.disconnect();
    await this.#looking;
  }

  /**
   * Sends what is open to the nodes that the map names; answers with what has to be tried again. Where one of them is away all
   * are refused, but those of the others are sent: else their copies would miss every commit as long as it is away.
   */
  async #round(calls: readonly ScriptCall[], open: number[], answers: unknown[]): Promise<number[]> {
    const byNode = Map.groupBy(open, (i) => this.#nodeOf((calls[i] as ScriptCall).key));
    const again: number[] = [];
    await Promise.all(
      Array.from(byNode, async ([node, places]) => {
        if (node === null) throw new HotStoreAway(this.state.reason);
        const sent = places.map((i) => calls[i] as ScriptCall);
        const replies = await this.#guarded(node, async () => node.send(sent, await node.open()));
        const unloaded = new Set<ScriptCall["script"]>();
        for (const [at, i] of places.entries()) {
          const reply = replies[at];
          answers[i] = reply;
          if (!(reply instanceof Error)) continue;
          const { script } = calls[i] as ScriptCall;
          if (isNoScript(reply.message)) unloaded.add(script);
          else if (MOVES.test(reply.message)) this.#forget(node, reply.message);
          else throw replyError(script, reply.message);
          again.push(i);
        }
        if (unloaded.size > 0) await this.#guarded(node, () => node.load([...unloaded]));
      }),
    );
    return again;
  }

  /**
   * Whoever says MOVED, and whom it names, may have changed roles: their identities are read again before they are
   * used.
   */
  #forget(node: ClusterNode, message: string): void {
    node.forget();
    this.#nodes.get(message.split(" ")[2] ?? "")?.forget();
  }

  /** Who serves it; null where that one is away. */
  #nodeOf(key: string): ClusterNode | null {
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      slot = slotOf(key);
      this.#slots.set(key, slot);
    }
    const name = this.#cluster.slots[slot]?.[0] ?? "";
    const node = this.#nodes.get(name);
    if (node?.isUsable && !this.#failed.has(name)) return node;
    if (this.state.up) this.#fail(name, this.#reason(name));
    return null;
  }

  #reason(name: string): string {
    return name ? `Redis ${name} is away` : "Redis Cluster: a slot is served by nobody";
  }

  /** The masters as the map has them now; an instance that ioredis has replaced is another node to us. */
  #masters(): ClusterNode[] {
    const owners = this.#owners();
    const now = new Map<string, ClusterNode>();
    for (const redis of this.#cluster.nodes("master")) {
      const node = new ClusterNode(redis);
      const known = this.#nodes.get(node.name);
      if (owners.has(node.name)) now.set(node.name, known?.redis === redis ? known : node);
    }
    this.#nodes = now;
    return [...now.values()];
  }

  /** Who serves slots; "" stands for nobody. */
  #owners(): Set<string> {
    const owners = new Set<string>();
    for (let slot = 0; slot < SLOTS; slot++) owners.add(this.#cluster.slots[slot]?.[0] ?? "");
    return owners;
  }

  async #guarded<T>(node: ClusterNode, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof HotStoreAway || error instanceof StartError)) throw error;
      this.#fail(node.name, error.message);
      throw error instanceof StartError ? new HotStoreAway(error.message) : error;
    }
  }

  #fail(name: string, why: string): void {
    this.#failed.add(name);
    // While away, the next look is set already; calls that fail must not put it off.
    if (!this.state.up || this.#closed) return;
    this.#keeper.away(why);
    this.#lookIn(backoffMs(++this.#attempts));
  }

  async #refreshSlots(): Promise<void> {
    const cluster = this.#cluster;
    let ready = () => {};
    try {
      await within(
        new Promise<void>((resolve, reject) => {
          ready = resolve;
          // While it connects it has no nodes to ask, and reads the map itself.
          if (cluster.status !== "ready") cluster.once("ready", ready);
          else cluster.refreshSlotsCache((error) => (error ? reject(error) : resolve()));
        }),
        "asking Redis Cluster for its slots",
      );
      this.#nodeError = "";
    } catch (error) {
      throw this.#nodeError ? refusalError(this.#nodeError) : new HotStoreAway(messageOf(error));
    } finally {
      cluster.off("ready", ready);
    }
    this.#masters();
  }

  #lookIn(ms: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#looking = this.#looking.then(() => this.#look());
    }, ms);
    this.#timer.unref();
  }

  /** Reads the map and looks at every master; up if all of them answer and all slots are served. */
  async #look(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#refreshSlots();
      const masters = this.#masters();
      const looks = await Promise.allSettled(masters.map((node) => node.look()));
      const bad = looks.findIndex(({ status }) => status === "rejected");
      for (const [i, { status }] of looks.entries()) {
        if (status === "rejected") this.#failed.add((masters[i] as ClusterNode).name);
        else this.#failed.delete((masters[i] as ClusterNode).name);
      }
      if (bad >= 0) throw (looks[bad] as PromiseRejectedResult).reason;
      const lacking = [...this.#owners()].find((name) => !this.#nodes.has(name));
      if (lacking !== undefined) throw new HotStoreAway(this.#reason(lacking));
      this.#problem = null;
      this.#attempts = 0;
      if (!this.#closed) this.#keeper.up();
      this.#lookIn(LOOK_EVERY_MS);
    } catch (error) {
      this.#problem = error instanceof StartError ? error : null;
      if (!this.#closed) this.#keeper.away(messageOf(error));
      this.#lookIn(backoffMs(++this.#attempts));
    }
  }
}

/** `redis+cluster://user:password@host:port,host:port`. */
function parse(url: string): { nodes: { host: string; port: number }[]; username: string; password: string } {
  const rest = url.slice("redis+cluster://".length).replace(/\/$/, "");
  const at = rest.lastIndexOf("@");
  const [username = "", password = ""] = at < 0 ? [] : rest.slice(0, at).split(":").map(decodeURIComponent);
  const nodes = rest
    .slice(at + 1)
    .split(",")
    .map((part) => {
      const { hostname, port } = new URL(`redis://${part}`);
      return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 6379) };
    });
  return { nodes, username, password };
}
