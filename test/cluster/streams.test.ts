import { expect, test } from "bun:test";
import { EventReader } from "../support/event-reader.ts";
import { eventually } from "../support/eventually.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const SUBJECTS = Array.from({ length: 30 }, (_, i) => `article/${i}`);

/** Reads as EventSource does: where its stream ends it comes back, to the other node, with the last id. */
class Follower {
  /** What it was told last of each subject. */
  readonly likes = new Map<string, number>();
  readers: EventReader[] = [];
  #isClosed = false;

  constructor(urls: () => string[]) {
    void this.#follow(urls);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.readers.at(-1)?.close();
  }

  async #follow(urls: () => string[]): Promise<void> {
    for (let turn = 0; !this.#isClosed; turn++) {
      const all = urls();
      const lastEventId = this.readers.at(-1)?.events.at(-1)?.id;
      const headers = lastEventId === undefined ? {} : { "last-event-id": lastEventId };
      try {
        const reader = await EventReader.follow(all[turn % all.length] as string, SUBJECTS, ["likes"], headers);
        this.readers.push(reader);
        await reader.ended;
      } catch {
        await Bun.sleep(50);
      }
    }
  }

  latest(subject: string): number {
    for (const reader of this.readers.toReversed()) {
      const count = reader.latest(subject, "likes");
      if (count !== null) return count;
    }
    return -1;
  }
}

test("streams miss nothing through the death of a node, and of the one they came back to", async () => {
  const nodes = await TwoNodes.start();
  const alive = new Set([0, 1]);
  const urls = () => Array.from(alive, (index) => nodes.server(index).url);
  const followers = Array.from({ length: 8 }, (_, i) => new Follower(() => (i % 2 ? urls() : urls().reverse())));
  const likes = new Map(SUBJECTS.map((subject) => [subject, 0]));
  let actor = 0;
  /** On whatever node lives, one like each for some. */
  const act = async (times: number) => {
    for (let i = 0; i < times; i++) {
      const subject = SUBJECTS[Math.floor(Math.random() * SUBJECTS.length)] as string;
      const [url] = urls();
      const answer = await fetch(new URL(`/v1/subjects/${subject}/likes/${++actor}`, url), { method: "PUT" });
      expect(answer.status).toBeLessThan(300);
      likes.set(subject, (likes.get(subject) as number) + 1);
    }
  };
  const allTold = () =>
    eventually(async () => {
      for (const follower of followers)
        for (const [subject, count] of likes) expect([subject, follower.latest(subject)]).toEqual([subject, count]);
    }, 30_000);
  try {
    await act(40);
    await allTold();
    for (const dying of [0, 1]) {
      alive.delete(dying);
      const acting = act(60);
      await nodes.server(dying).kill();
      await acting;
      await allTold();
      await nodes.startNode(dying);
      alive.add(dying);
      await act(20);
      await allTold();
    }
    for (const follower of followers) {
      expect(follower.readers.length).toBeGreaterThan(1);
      for (const { events } of follower.readers) {
        for (const subject of SUBJECTS) {
          const counts = events.filter(({ data }) => data.subject === subject).map(({ data }) => data.count);
          expect(counts).toEqual([...new Set(counts)].sort((a, b) => a - b));
        }
      }
    }
  } finally {
    await Promise.all(followers.map((follower) => follower.close()));
    await nodes.stop();
  }
}, 180_000);

test("while Redis is away a stream is quiet or right, and afterwards tells what has changed", async () => {
  const nodes = await TwoNodes.start();
  const subject = "article/1";
  const like = async (index: number, actor: number) => {
    const url = new URL(`/v1/subjects/${subject}/likes/${actor}`, nodes.server(index).url);
    expect([200, 202]).toContain((await fetch(url, { method: "PUT" })).status);
  };
  try {
    const reader = await EventReader.follow(nodes.server(0).url, [subject], ["likes"]);
    await like(1, 1);
    await reader.untilCount(subject, "likes", 1);
    await nodes.ways(0).redis.cut();
    await like(1, 2);
    await like(1, 3);
    await Bun.sleep(2_000);
    await nodes.ways(0).redis.heal();
    await like(1, 4);
    await reader.untilCount(subject, "likes", 4);
    for (const { data } of reader.events) expect([0, 1, 2, 3, 4]).toContain(data.count);
    await reader.close();
  } finally {
    await nodes.stop();
  }
}, 120_000);
