import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, expectProblem, freshSubject } from "../support/contract.ts";

interface Page {
  count: number;
  next: string | null;
  items: { id: string; at: string }[];
}

async function page(api: Api, path: string): Promise<Page> {
  const reply = await api.get(path);
  expect(reply.status, reply.text).toBe(200);
  expect(reply.headers.get("cache-control")).toBe("no-store");
  const { count, next, actors, subjects } = reply.json;
  const items = (actors ?? subjects).map((item: Record<string, string>) => {
    expect(Object.keys(item)).toEqual([actors ? "actor" : "subject", "at"]);
    return { id: item.actor ?? item.subject, at: item.at };
  });
  return { count, next, items };
}

/** All pages from the first to the end. */
async function allPages(api: Api, path: string): Promise<Page[]> {
  const pages = [await page(api, path)];
  for (let next = pages[0]?.next; next; next = pages.at(-1)?.next)
    pages.push(await page(api, `${path}&cursor=${next}`));
  return pages;
}

/** Lists of actors and subjects. */
export function lists(api: Api): void {
  describe("the actors of a relation", () => {
    test("come newest first, page by page", async () => {
      const { path } = freshSubject();
      const actors = Array.from({ length: 25 }, (_, i) => `a${i}`);
      for (const actor of actors) await api.put(`${path}/likes/${actor}`);
      const newestFirst = actors.toReversed();
      const pages = await allPages(api, `${path}/likes?limit=10`);
      expect(pages.map(({ items }) => items.length)).toEqual([10, 10, 5]);
      expect(pages.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(newestFirst);
      expect(pages.every(({ count }) => count === 25)).toBeTrue();
      const times = pages.flatMap(({ items }) => items.map(({ at }) => Date.parse(at)));
      expect(times).toEqual(times.toSorted((a, b) => b - a));
      const whole = await page(api, `${path}/likes?limit=100`);
      expect(whole.items.map(({ id }) => id)).toEqual(newestFirst);
      expect(whole.next).toBeNull();
    });

    test("show every write at once: a like on top, an unlike gone, a second like on top again", async () => {
      const { path } = freshSubject();
      const ids = async () => (await page(api, `${path}/likes?limit=5`)).items.map(({ id }) => id);
      expect(await ids()).toEqual([]);
      await api.put(`${path}/likes/7`);
      await api.put(`${path}/likes/8`);
      expect(await ids()).toEqual(["8", "7"]);
      await api.put(`${path}/likes/7`);
      expect(await ids()).toEqual(["8", "7"]);
      await api.delete(`${path}/likes/7`);
      expect(await ids()).toEqual(["8"]);
      await api.put(`${path}/likes/7`);
      expect(await ids()).toEqual(["7", "8"]);
    });

    test("a cursor alone implies 20, and a page that ends the list has no next", async () => {
      const { path } = freshSubject();
      for (let i = 0; i < 21; i++) await api.put(`${path}/likes/a${i}`);
      const { next } = await page(api, `${path}/likes?limit=1`);
      const rest = await page(api, `${path}/likes?cursor=${next}`);
      expect(rest.items).toHaveLength(20);
      expect(rest.next).toBeNull();
    });

    test("a cursor stays good while the list changes", async () => {
      const { path } = freshSubject();
      for (const actor of ["1", "2", "3", "4"]) await api.put(`${path}/likes/${actor}`);
      const { next } = await page(api, `${path}/likes?limit=2`);
      await api.put(`${path}/likes/5`);
      await api.delete(`${path}/likes/2`);
      await api.delete(`${path}/likes/3`);
      expect((await page(api, `${path}/likes?limit=2&cursor=${next}`)).items.map(({ id }) => id)).toEqual(["1"]);
    });

    test("limits and cursors that do not belong are refused", async () => {
      const { path } = freshSubject();
      for (const limit of ["0", "101", "-1", "1.5", "", "x", "010", "1e1", "%2B5"])
        expectBadInput(await api.get(`${path}/likes?limit=${limit}`), "limit");
      expectBadInput(await api.get(`${path}/likes?limit=1&limit=2`), "limit");
      await api.put(`${path}/likes/7`);
      await api.put(`${path}/likes/8`);
      const { next } = await page(api, `${path}/likes?limit=1`);
      expect(next).toBeString();
      const other = freshSubject().path;
      for (const wrong of [`${other}/likes`, `${path}/favorites`, "/v1/actors/7/likes"])
        expectBadInput(await api.get(`${wrong}?cursor=${next}`), "cursor");
      for (const cursor of ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", `${next}A`, `B${next?.slice(1)}`, "%00"])
        expectBadInput(await api.get(`${path}/likes?cursor=${cursor}`), "cursor");
    });

    test("a tally has none", async () => {
      expectProblem(await api.get(`${freshSubject().path}/views?limit=5`), 400, "wrong-kind");
    });
  });

  describe("GET /v1/actors/{actor}", () => {
    test("has every relation", async () => {
      expect((await api.get("/v1/actors/nobody")).text).toBe(
        '{"actor":"nobody","counts":{"likes":0,"favorites":0,"follows":0}}',
      );
      await api.put(`${freshSubject().path}/likes/counted`);
      await api.put(`${freshSubject().path}/likes/counted`);
      await api.put("/v1/subjects/user/9/follows/counted");
      const reply = await api.get("/v1/actors/counted");
      expect(reply.json).toEqual({ actor: "counted", counts: { likes: 2, favorites: 0, follows: 1 } });
      expect(reply.headers.get("cache-control")).toBe("no-store");
      expectBadInput(await api.get("/v1/actors/me"), "actor");
    });
  });

  describe("GET /v1/actors/{actor}/{relation}", () => {
    test("lists the subjects newest first, 20 without a limit, of one type if asked", async () => {
      const subjects = Array.from({ length: 24 }, (_, i) => freshSubject(i % 2 ? "article" : "video"));
      for (const { path } of subjects) await api.put(`${path}/likes/lister`);
      const newestFirst = subjects.map(({ subject }) => subject).toReversed();
      const first = await page(api, "/v1/actors/lister/likes");
      expect(first.count).toBe(24);
      expect(first.items.map(({ id }) => id)).toEqual(newestFirst.slice(0, 20));
      const pages = await allPages(api, "/v1/actors/lister/likes?limit=7");
      expect(pages.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(newestFirst);
      const videos = await allPages(api, "/v1/actors/lister/likes?limit=5&type=video");
      expect(videos.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(
        newestFirst.filter((subject) => subject.startsWith("video/")),
      );
      expect(videos.every(({ count }) => count === 12)).toBeTrue();
      expectBadInput(await api.get(`/v1/actors/lister/likes?cursor=${videos[0]?.next}`), "cursor");
      expectBadInput(await api.get(`/v1/actors/other/likes?cursor=${pages[0]?.next}`), "cursor");
    });

    test("shows what was just done and not what was undone", async () => {
      const [a, b] = [freshSubject(), freshSubject()];
      await api.put(`${a.path}/follows/doer`);
      await api.put(`${b.path}/follows/doer`);
      await api.delete(`${b.path}/follows/doer`);
      const { items, count } = await page(api, "/v1/actors/doer/follows");
      expect(items.map(({ id }) => id)).toEqual([a.subject]);
      expect(count).toBe(1);
      const { at } = (await api.get(`${a.path}/follows/doer`)).json;
      expect(items[0]?.at).toBe(at);
    });

    test("refuses what it does not know", async () => {
      expectProblem(await api.get("/v1/actors/7/views"), 400, "wrong-kind");
      expectProblem(await api.get("/v1/actors/7/claps"), 404, "unknown-metric");
      expectBadInput(await api.get("/v1/actors/7/likes?type=No"), "type");
      expectBadInput(await api.get("/v1/actors/7/likes?limit=101"), "limit");
      expectBadInput(await api.get("/v1/actors/me/likes"), "actor");
    });
  });
}
