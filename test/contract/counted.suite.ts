import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { ODD } from "../support/odd-ids.ts";
import { random } from "../support/random.ts";

interface Page {
  subjects: string[];
  next: string | null;
}

async function page(api: Api, parameters: string): Promise<Page> {
  const reply = await api.get(`/v1/subjects?${parameters}`);
  expect(reply.status, reply.text).toBe(200);
  expect(reply.headers.get("cache-control")).toBe("no-store");
  expect(Object.keys(reply.json)).toEqual(["subjects", "next"]);
  return reply.json;
}

/** All pages' subjects; no page is longer than the limit, and none before the last is empty. */
async function all(api: Api, type: string, limit = 100): Promise<string[]> {
  const subjects: string[] = [];
  for (let cursor = ""; ; ) {
    const { subjects: some, next } = await page(api, `type=${type}&limit=${limit}${cursor}`);
    expect(some.length).toBeLessThanOrEqual(limit);
    subjects.push(...some);
    if (next === null) return subjects;
    expect(some.length).toBeGreaterThan(0);
    cursor = `&cursor=${next}`;
  }
}

function sorted(subjects: Iterable<string>): string[] {
  return [...subjects].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

function pathOf(subject: string): string {
  const slash = subject.indexOf("/");
  return `/v1/subjects/${subject.slice(0, slash)}/${encodeURIComponent(subject.slice(slash + 1))}`;
}

/** The list of all subjects. */
export function counted(api: Api): void {
  describe("GET /v1/subjects", () => {
    test("has each subject as soon as a relation of it is acknowledged, on every node, and not after the last is undone", async () => {
      const subjects = new Set<string>();
      for (let i = 0; i < 12; i++) {
        const subject = `listed/${(i * 7) % 12}`;
        await api.put(`${pathOf(subject)}/likes/7`);
        subjects.add(subject);
        expect(await all(api, "listed")).toEqual(sorted(subjects));
      }
      for (const subject of ["listed/3", "listed/11", "listed/0"]) {
        await api.delete(`${pathOf(subject)}/likes/7`);
        subjects.delete(subject);
        expect(await all(api, "listed", 5)).toEqual(sorted(subjects));
      }
      await api.put(`${pathOf("listed/3")}/favorites/7`);
      expect(await all(api, "listed", 1)).toEqual(sorted(subjects.add("listed/3")));
      // An act that changed nothing makes no subject.
      await api.delete(`${pathOf("listed/none")}/likes/7`);
      await api.get(`${pathOf("listed/none")}`);
      expect(await all(api, "listed")).toEqual(sorted(subjects));
    });

    test("has each tally as soon as it is counted, on the node that counted it, and on the others after a flush", async () => {
      const subjects = new Set<string>();
      const node = api.node(0);
      for (let i = 0; i < 12; i++) {
        const subject = `tallied/${(i * 5) % 12}`;
        const keyed = i % 3 === 0 ? { headers: { "idempotency-key": `counted ${i} ${process.pid}` } } : {};
        await node.post(`${pathOf(subject)}/views`, keyed);
        subjects.add(subject);
        expect(await all(node, "tallied")).toEqual(sorted(subjects));
      }
      for (let i = 0; i < api.urls.length; i++)
        await eventually(async () => expect(await all(api.node(i), "tallied")).toEqual(sorted(subjects)));
    });

    test("is sorted by bytes, whatever the ids are", async () => {
      const subjects = ODD.map((id) => `oddlisted/${id}`);
      for (const subject of subjects) await api.put(`${pathOf(subject)}/likes/7`);
      expect(await all(api, "oddlisted", 7)).toEqual(sorted(subjects));
      expect(await all(api, "oddlisted", 100)).toEqual(sorted(subjects));
    });

    test("keeps types apart, and has all of them without one", async () => {
      for (const type of ["sort", "sorta", "sort_b", "sor"]) await api.put(`/v1/subjects/${type}/1/likes/7`);
      expect(await all(api, "sort")).toEqual(["sort/1"]);
      const types = new Set<string>();
      const met: string[] = [];
      for (let cursor = ""; ; ) {
        const { subjects, next } = await page(api, `limit=100${cursor}`);
        met.push(...subjects);
        for (const subject of subjects) types.add(subject.slice(0, subject.indexOf("/")));
        if (next === null) break;
        cursor = `&cursor=${next}`;
      }
      expect(met).toEqual(sorted(new Set(met)));
      for (const type of ["sor", "sort", "sort_b", "sorta"]) expect(types).toContain(type);
    });

    test("a cursor stays good while subjects come and go: what stays is met once, what comes behind it too", async () => {
      const chance = random(7_771);
      const there = new Set(Array.from({ length: 20 }, (_, i) => `moving/${String(i * 3).padStart(3, "0")}`));
      for (const subject of there) await api.put(`${pathOf(subject)}/likes/7`);
      const met: string[] = [];
      for (let cursor = "", last = ""; ; ) {
        const { subjects, next } = await page(api, `type=moving&limit=3${cursor}`);
        expect(subjects).toEqual(sorted([...there].filter((subject) => subject > last)).slice(0, 3));
        met.push(...subjects);
        if (next === null) break;
        last = subjects.at(-1) as string;
        cursor = `&cursor=${next}`;
        for (let i = 0; i < 3; i++) {
          const subject = `moving/${String(chance.below(60)).padStart(3, "0")}`;
          if (there.delete(subject)) await api.delete(`${pathOf(subject)}/likes/7`);
          else {
            there.add(subject);
            await api.put(`${pathOf(subject)}/likes/7`);
          }
        }
      }
      expect(met).toEqual(sorted(new Set(met)));
    });

    test("implies 20, and refuses what is not right", async () => {
      for (let i = 0; i < 21; i++) await api.put(`/v1/subjects/twenty/${i}/likes/7`);
      const first = await page(api, "type=twenty");
      expect(first.subjects).toHaveLength(20);
      expect((await page(api, `type=twenty&cursor=${first.next}`)).subjects).toHaveLength(1);
      expect(await page(api, "type=nothing")).toEqual({ subjects: [], next: null });
      expectBadInput(await api.get("/v1/subjects?limit=101"), "limit");
      expectBadInput(await api.get("/v1/subjects?type=No"), "type");
      expectBadInput(await api.get(`/v1/subjects?cursor=${first.next}`), "cursor");
      expectBadInput(await api.get(`/v1/subjects?type=listed&cursor=${first.next}`), "cursor");
      expectBadInput(await api.get(`/v1/actors/7/likes?cursor=${first.next}`), "cursor");
      expectBadInput(await api.get("/v1/subjects?cursor=x"), "cursor");
    });
  });
}
