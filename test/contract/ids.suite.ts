import { describe, expect, test } from "bun:test";
import { Connection } from "../support/connection.ts";
import { type Api, expectBadInput, expectProblem } from "../support/contract.ts";
import { ODD } from "../support/odd-ids.ts";

/** Which ids there are, and that each means itself alone. */
export function ids(api: Api): void {
  describe("odd ids", () => {
    test("are different subjects, told back as they are", async () => {
      expect(new Set(ODD).size).toBe(ODD.length);
      for (const [i, id] of ODD.entries()) {
        const path = `/v1/subjects/odd/${encodeURIComponent(id)}`;
        expect((await api.post(`${path}/views`, { json: { by: i + 1 } })).json, id).toEqual({ count: i + 1 });
      }
      for (const [i, id] of ODD.entries()) {
        const path = `/v1/subjects/odd/${encodeURIComponent(id)}`;
        const expected = { subject: `odd/${id}`, metric: "views", count: i + 1 };
        expect((await api.get(`${path}/views`)).json).toEqual(expected);
        expect((await api.get(path)).json).toMatchObject({ subject: `odd/${id}`, counts: { views: i + 1 } });
      }
    });

    test("are different actors, told back as they are", async () => {
      for (const id of ODD) {
        const reply = await api.put(`/v1/subjects/odd/actors/likes/${encodeURIComponent(id)}`);
        expect(reply.json, id).toMatchObject({ active: true, changed: true });
      }
      const listed: string[] = [];
      for (let cursor = ""; cursor !== "end"; ) {
        const { actors, next, count } = (await api.get(`/v1/subjects/odd/actors/likes?limit=25${cursor}`)).json;
        expect(count).toBe(ODD.length);
        listed.push(...actors.map(({ actor }: { actor: string }) => actor));
        cursor = next === null ? "end" : `&cursor=${next}`;
      }
      expect(listed).toEqual(ODD.toReversed());
      for (const id of ODD) {
        const encoded = encodeURIComponent(id);
        expect((await api.get(`/v1/subjects/odd/actors?actor=${encoded}`)).json.mine).toEqual(["likes"]);
        expect((await api.get(`/v1/actors/${encoded}`)).json).toEqual({
          actor: id,
          counts: { likes: 1, favorites: 0, follows: 0 },
        });
        expect((await api.get(`/v1/actors/${encoded}/likes`)).json.subjects).toMatchObject([{ subject: "odd/actors" }]);
      }
    });

    test("mean the same in every spelling", async () => {
      await api.post("/v1/subjects/odd/spelt/views");
      expect((await api.get("/v1/subjects/%6fdd/%73pelt/%76iews")).json.count).toBe(1);
      expect((await api.get("/v1/subjects/odd/sp%65lt?actor=a+b")).json.mine).toEqual([]);
      await api.put("/v1/subjects/odd/spelt/likes/a%20b");
      expect((await api.get("/v1/subjects/odd/spelt?actor=a+b")).json.mine).toEqual(["likes"]);
      expect((await api.get("/v1/subjects/odd/spelt?actor=a%20b")).json.mine).toEqual(["likes"]);
      expect((await api.get("/v1/subjects/odd/spelt?actor=a%2Bb")).json.mine).toEqual([]);
    });
  });

  describe("ids that are none", () => {
    const BAD = {
      "a control character": ["%00", "a%0Ab", "%7F", "%C2%85", "a%09"],
      "invalid UTF-8": ["%ff", "%C3", "%C3%28", "%E2%82", "%C0%AF", "%ED%A0%80", "%F4%90%80%80"],
      "a broken escape": ["%", "%2", "%zz", "a%", "%u0041"],
      "more than 128 bytes": ["x".repeat(129), encodeURIComponent("\u00e9".repeat(64)).concat("x")],
    };

    test.each(Object.entries(BAD))("%s: 400", async (_what, ids) => {
      for (const id of ids) {
        expectBadInput(await api.post(`/v1/subjects/odd/${id}/views`), "id");
        expectBadInput(await api.get(`/v1/subjects/odd/${id}`), "id");
        expectBadInput(await api.get(`/v1/subjects/odd/${id}/likes?limit=1`), "id");
        expectBadInput(await api.put(`/v1/subjects/odd/x/likes/${id}`), "actor");
        expectBadInput(await api.delete(`/v1/subjects/odd/x/likes/${id}`), "actor");
        expectBadInput(await api.get(`/v1/actors/${id}`), "actor");
        expectBadInput(await api.get(`/v1/actors/${id}/likes`), "actor");
      }
    });

    test("a type out of its pattern: 400", async () => {
      for (const type of ["Article", "1a", "_a", "a-b", "a.b", "%20a", "a%2Fb", "x".repeat(33), "%C3%A9", "%ff"])
        expectBadInput(await api.post(`/v1/subjects/${type}/1/views`), "type");
      expect((await api.post(`/v1/subjects/${"x".repeat(32)}/1/views`)).status).toBe(200);
    });

    test("dots and nothing: 404", async () => {
      const connection = await Connection.open(api.url);
      for (const [method, path] of [
        ["POST", "/v1/subjects/odd/../views"],
        ["POST", "/v1/subjects/odd/%2e%2E/views"],
        ["PUT", "/v1/subjects/odd/1/likes/.."],
        ["PUT", "/v1/subjects/odd/1/likes/."],
        ["PUT", "/v1/subjects/odd/1/likes/%2e"],
        ["DELETE", "/v1/subjects/odd/1/likes/.."],
        ["GET", "/v1/actors/.."],
        ["POST", "/v1/subjects/odd//views"],
        ["PUT", "/v1/subjects/odd/1/likes/"],
        ["GET", "/v1/subjects/odd/"],
        ["GET", "/v1/subjects//1"],
        ["GET", "/v1/actors/"],
      ] as const) {
        const { status, headers } = await connection.send(method, path);
        expect([path, status, headers.get("content-type")]).toEqual([path, 404, "application/problem+json"]);
      }
      connection.close();
    });

    test("an id that only looks like dots is one", async () => {
      expectProblem(await api.post("/v1/subjects/odd/%252e/claps"), 404, "unknown-metric");
      expect((await api.post("/v1/subjects/odd/..%2F/views")).json).toEqual({ count: 1 });
      expect((await api.get("/v1/subjects/odd/..%2F")).json.subject).toBe("odd/../");
    });
  });
}
