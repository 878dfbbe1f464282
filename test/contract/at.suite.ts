import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, freshSubject, type Reply } from "../support/contract.ts";
import { random } from "../support/random.ts";

const LONG_AGO = "2019-05-01T00:00:00.000Z";
const LATER = "2020-01-01T12:34:56.789Z";

/** Every page of a list, of few items each. */
async function walk(api: Api, path: string, limit: number): Promise<{ id: string; at: string }[]> {
  const items: { id: string; at: string }[] = [];
  for (let cursor = ""; ; ) {
    const { json } = await api.get(`${path}?limit=${limit}${cursor}`);
    for (const { actor, subject, at } of json.actors ?? json.subjects) items.push({ id: actor ?? subject, at });
    if (json.next === null) return items;
    cursor = `&cursor=${json.next}`;
  }
}

/** Acts that bring their own time. */
export function at(api: Api): void {
  const liked = (reply: Reply) => {
    expect(reply.status, reply.text).toBe(200);
    return reply.json;
  };
  const put = async (path: string, actor: string, at?: string) =>
    liked(await api.put(`${path}/likes/${actor}`, { json: at === undefined ? {} : { at } }));
  const remove = async (path: string, actor: string, at: string) =>
    liked(await api.delete(`${path}/likes/${actor}`, { json: { at } }));

  describe("`at` of a relation", () => {
    test("is the time at which it is listed", async () => {
      const { path, subject } = freshSubject();
      const actor = `at-${subject}`;
      expect(await put(path, "now")).toMatchObject({ changed: true, count: 1 });
      const first = await put(path, actor.replace("/", "%2F"), LATER);
      expect(first).toEqual({ active: true, changed: true, count: 2, at: LATER });
      expect(await put(path, "older", LONG_AGO)).toEqual({ active: true, changed: true, count: 3, at: LONG_AGO });
      expect((await walk(api, `${path}/likes`, 2)).map(({ id }) => id)).toEqual(["now", actor, "older"]);
      expect(await walk(api, `/v1/actors/${encodeURIComponent(actor)}/likes`, 2)).toEqual([{ id: subject, at: LATER }]);
      expect((await api.get(`${path}/likes/older`)).json).toEqual({ active: true, count: 3, at: LONG_AGO });
    });

    test("older than the register, or as old, changes nothing", async () => {
      const { path } = freshSubject();
      const now = await put(path, "7");
      const stored = { active: true, changed: false, count: 1, at: now.at };
      expect(await remove(path, "7", LATER)).toEqual(stored);
      expect(await put(path, "7", LATER)).toEqual(stored);
      await put(path, "8", LATER);
      const kept = { active: true, changed: false, count: 2, at: LATER };
      expect(await put(path, "8", LATER)).toEqual(kept);
      expect(await remove(path, "8", LATER)).toEqual(kept);
      expect(await remove(path, "8", LONG_AGO)).toEqual(kept);
    });

    test("newer than the register takes its place; an act now is newer than all", async () => {
      const { path } = freshSubject();
      await put(path, "7", LONG_AGO);
      expect(await put(path, "7", LATER)).toEqual({ active: true, changed: false, count: 1, at: LATER });
      const at = "2021-01-01T00:00:00.000Z";
      expect(await remove(path, "7", at)).toEqual({ active: false, changed: true, count: 0, at });
      expect(await put(path, "7", LATER)).toEqual({ active: false, changed: false, count: 0, at });
      const now = await put(path, "7");
      expect(now).toMatchObject({ active: true, changed: true, count: 1 });
      expect(Date.parse(now.at)).toBeGreaterThan(Date.now() - 60_000);
    });

    test("of what never was: a removal is remembered, and an older like stays dead", async () => {
      const { path } = freshSubject();
      expect(await remove(path, "7", LATER)).toEqual({ active: false, changed: false, count: 0, at: LATER });
      expect(await put(path, "7", LONG_AGO)).toEqual({ active: false, changed: false, count: 0, at: LATER });
    });

    test("in any order ends in the newest", async () => {
      const { below } = random(7);
      const { path } = freshSubject();
      for (const actor of ["a", "b", "c"]) {
        const acts = Array.from({ length: 12 }, (_, i) => ({ at: Date.UTC(2012, i), active: below(2) === 1 }));
        for (const { at, active } of acts.toSorted(() => below(3) - 1)) {
          const time = new Date(at).toISOString();
          if (active) await put(path, actor, time);
          else await remove(path, actor, time);
        }
        const { active, at } = acts.at(-1) as (typeof acts)[number];
        const shown = (await api.get(`${path}/likes/${actor}`)).json;
        expect(shown).toMatchObject({ active, at: active ? new Date(at).toISOString() : null });
      }
    });

    test("shared by many: every page has each of them once", async () => {
      const { path } = freshSubject();
      const actors = [
        "A",
        "a",
        "aa",
        "b",
        "\u00e9",
        "e\u0301",
        "\uff5e",
        "😀",
        "\u2028",
        "%2F",
        "__proto__",
        "x y",
        "x".repeat(128),
      ];
      for (const actor of actors) await put(path, encodeURIComponent(actor), LATER);
      await put(path, "newer", "2022-01-01T00:00:00Z");
      await put(path, "older", LONG_AGO);
      const byBytes = actors.toSorted((a, b) => Buffer.compare(Buffer.from(b), Buffer.from(a)));
      for (const limit of [1, 2, 3, 20])
        expect((await walk(api, `${path}/likes`, limit)).map(({ id }) => id)).toEqual(["newer", ...byBytes, "older"]);
      await api.delete(`${path}/likes/aa`);
      expect((await walk(api, `${path}/likes`, 2)).map(({ id }) => id)).not.toContain("aa");
      const other = Array.from({ length: 5 }, () => freshSubject());
      const actor = `many-${path.split("/").at(-1)}`;
      for (const { path } of other) await put(path, actor, LATER);
      const subjects = other
        .map(({ subject }) => subject)
        .toSorted()
        .toReversed();
      for (const limit of [1, 2])
        expect((await walk(api, `/v1/actors/${actor}/likes`, limit)).map(({ id }) => id)).toEqual(subjects);
    });

    test("with an Idempotency-Key acts once", async () => {
      const { path } = freshSubject();
      const headers = { "idempotency-key": "k" };
      const first = await api.put(`${path}/likes/7`, { headers, json: { at: LATER } });
      expect(first.json).toEqual({ active: true, changed: true, count: 1, at: LATER });
      await api.delete(`${path}/likes/7`);
      const again = await api.put(`${path}/likes/7`, { headers, json: { at: LATER } });
      expect(again.json).toMatchObject({ active: false, changed: false, count: 0 });
      expect((await api.put(`${path}/likes/7`, { headers, json: { at: LONG_AGO } })).status).toBe(422);
    });
  });

  describe("`at` of a tally", () => {
    test("counts, and shows at once", async () => {
      const { path } = freshSubject();
      await api.post(`${path}/views`);
      expect((await api.post(`${path}/views`, { json: { by: 3, at: LATER } })).json).toEqual({ count: 4 });
      expect((await api.post(`${path}/views`, { json: { at: LATER } })).json).toEqual({ count: 5 });
      expect((await api.get(`${path}/views`)).json.count).toBe(5);
      expect((await api.post(`${path}/views`)).json.count).toBe(6);
    });

    test("with an Idempotency-Key counts once", async () => {
      const { path } = freshSubject();
      const keyed = (json: unknown) => api.post(`${path}/views`, { headers: { "idempotency-key": "k" }, json });
      for (let i = 0; i < 3; i++) expect((await keyed({ by: 3, at: LATER })).json).toEqual({ count: 3 });
      expect((await keyed({ by: 3, at: LONG_AGO })).status).toBe(422);
    });
  });

  test("`at` is a time in UTC, from 2000 on, and not ahead of the clock", async () => {
    const { path } = freshSubject();
    const soon = new Date(Date.now() + 30_000).toISOString();
    for (const at of ["2000-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00", "2024-02-29T23:59:59.9999Z", soon])
      expect((await api.post(`${path}/views`, { json: { at } })).status, at).toBe(200);
    const far = new Date(Date.now() + 3_600_000).toISOString();
    const wrong = [
      "1999-12-31T23:59:59.999Z",
      far,
      "2023-02-29T00:00:00Z",
      "2026-01-01T00:00:00",
      "2026-01-01",
      "yesterday",
      "",
    ];
    for (const at of [...wrong, "2026-01-01T00:00:00+02:00", "9999-01-01T00:00:00Z", 1767225600000, null, {}]) {
      expectBadInput(await api.post(`${path}/views`, { json: { at } }), "/at");
      expectBadInput(await api.put(`${path}/likes/7`, { json: { at } }), "/at");
      expectBadInput(await api.delete(`${path}/likes/7`, { json: { at } }), "/at");
    }
    expect((await api.get(path)).json.counts).toMatchObject({ views: 4, likes: 0 });
  });
}
