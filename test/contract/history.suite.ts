import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, expectProblem, freshSubject } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { random } from "../support/random.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

interface Point {
  at: string;
  count: number;
}

/** How counts came about. */
export function history(api: Api): void {
  const pathOf = (subject: string, metric: string) => `/v1/history/${subject}/${metric}`;
  const points = async (path: string): Promise<Point[]> => {
    const reply = await api.get(path);
    expect(reply.status, reply.text).toBe(200);
    expect(reply.headers.get("cache-control")).toBe("no-store");
    return reply.json.points;
  };

  describe("GET /v1/history/{type}/{id}/{metric}", () => {
    test("tells the last 24 hours or 30 days, the running one last, zeros included", async () => {
      const { subject } = freshSubject();
      for (const [step, stepMs, count] of [
        ["hour", HOUR_MS, 24],
        ["day", DAY_MS, 30],
      ] as const) {
        for (const metric of ["views", "likes"]) {
          const before = Math.floor(Date.now() / stepMs);
          const reply = await api.get(`${pathOf(subject, metric)}?step=${step}`);
          const after = Math.floor(Date.now() / stepMs);
          expect(reply.json.step).toBe(step);
          const last = (Date.parse(reply.json.points.at(-1).at) / stepMs) as number;
          expect([before, after]).toContain(last);
          const expected = Array.from({ length: count }, (_, i) => zero((last - count + 1 + i) * stepMs));
          expect(reply.json.points).toEqual(expected);
        }
      }
      expect((await api.get(pathOf(subject, "views"))).text).toStartWith('{"step":"hour","points":[{"at":"');
    });

    test("a change counts in its hour: views when they came, likes at their time, and they go again", async () => {
      const { path, subject } = freshSubject();
      await api.post(`${path}/views`, { json: { by: 3 } });
      await api.post(`${path}/views`);
      const liked = (await api.put(`${path}/likes/7`)).json;
      await api.put(`${path}/likes/8`);
      await api.delete(`${path}/likes/8`);
      const sum = async (metric: string) => (await points(pathOf(subject, metric))).reduce((s, it) => s + it.count, 0);
      await eventually(async () => expect([await sum("views"), await sum("likes")]).toEqual([4, 1]));
      const at = hourOf(Date.parse(liked.at));
      expect((await points(pathOf(subject, "likes"))).find((it) => it.at === at)?.count).toBe(1);
    });

    test("times within a step mean all of it; `to` is not included", async () => {
      const { path, subject } = freshSubject();
      const noon = Math.floor(Date.now() / DAY_MS) * DAY_MS - 40 * DAY_MS + DAY_MS / 2;
      const iso = (ms: number) => new Date(ms).toISOString();
      for (const [minutes, by] of [
        [-1, 1],
        [0, 10],
        [59, 100],
        [60, 1000],
      ] as const)
        await api.post(`${path}/views`, { json: { by, at: iso(noon + minutes * 60_000) } });
      const of = (from: number, to: number, step = "hour") =>
        points(`${pathOf(subject, "views")}?step=${step}&from=${iso(from)}&to=${iso(to)}`);
      await eventually(async () =>
        expect(counts(await of(noon - HOUR_MS, noon + 2 * HOUR_MS))).toEqual([1, 110, 1000]),
      );
      expect(await of(noon, noon + HOUR_MS)).toEqual([{ at: hourOf(noon), count: 110 }]);
      expect(await of(noon + 1, noon + 2)).toEqual([{ at: hourOf(noon), count: 110 }]);
      expect(counts(await of(noon - 1, noon + HOUR_MS + 1))).toEqual([1, 110, 1000]);
      const day = hourOf(noon - DAY_MS / 2);
      expect(await of(noon, noon + 1, "day")).toEqual([{ at: day, count: 1111 }]);
      const byDay = `${pathOf(subject, "views")}?step=day&from=${day.slice(0, 10)}&to=${iso(noon + DAY_MS).slice(0, 10)}`;
      expect(await points(byDay)).toEqual([{ at: day, count: 1111 }]);
      expect(await points(`${pathOf(subject, "views")}?from=${iso(noon)}&to=${iso(noon + HOUR_MS)}`)).toHaveLength(1);
      const upTo = await points(`${pathOf(subject, "views")}?to=${iso(noon + HOUR_MS)}`);
      expect([upTo.length, upTo.at(-1)]).toEqual([24, { at: hourOf(noon), count: 110 }]);
    });

    test("over ends of months and of the year, whatever came in what order: as in a model", async () => {
      const { path, subject } = freshSubject();
      const { below, chance, pick } = random(7);
      const year = new Date().getUTCFullYear();
      const edges = [Date.UTC(year, 0, 1), Date.UTC(year, new Date().getUTCMonth(), 1)];
      const expected = { views: new Map<string, number>(), likes: new Map<string, number>() };
      const add = (metric: "views" | "likes", ms: number, by: number) =>
        expected[metric].set(hourOf(ms), (expected[metric].get(hourOf(ms)) ?? 0) + by);
      const registers = new Map<string, { ms: number; active: boolean }>();
      for (let i = 0; i < 120; i++) {
        const ms = Math.min(pick(edges) + below(6 * HOUR_MS) - 3 * HOUR_MS, Date.now());
        const at = new Date(ms).toISOString();
        if (chance(0.3)) {
          const by = 1 + below(9);
          await api.post(`${path}/views`, { json: { by, at } });
          add("views", ms, by);
          continue;
        }
        const actor = `a${below(6)}`;
        const active = chance(0.6);
        await api.send(active ? "PUT" : "DELETE", `${path}/likes/${actor}`, { json: { at } });
        const before = registers.get(actor) ?? { ms: 0, active: false };
        if (ms <= before.ms) continue;
        registers.set(actor, { ms, active });
        if (before.active) add("likes", active ? before.ms : ms, -1);
        if (active) add("likes", ms, 1);
      }
      const active = [...registers.values()].filter((register) => register.active).length;
      for (const metric of ["views", "likes"] as const) {
        for (const edge of edges) {
          const range = `from=${new Date(edge - DAY_MS).toISOString()}&to=${new Date(edge + DAY_MS).toISOString()}`;
          const hours = Array.from({ length: 48 }, (_, i) => hourOf(edge - DAY_MS + i * HOUR_MS));
          const byHour = hours.map((at) => ({ at, count: expected[metric].get(at) ?? 0 }));
          await eventually(async () => expect(await points(`${pathOf(subject, metric)}?${range}`)).toEqual(byHour));
          const days = [0, 24].map((i) => ({
            at: hours[i] as string,
            count: counts(byHour.slice(i, i + 24)).reduce((sum, count) => sum + count, 0),
          }));
          expect(await points(`${pathOf(subject, metric)}?step=day&${range}`)).toEqual(days);
        }
      }
      const likes = [...expected.likes.values()].reduce((sum, count) => sum + count, 0);
      expect([likes, (await api.get(`${path}/likes`)).json.count]).toEqual([active, active]);
    }, 60_000);

    test("says what is wrong with what is asked", async () => {
      const path = pathOf("article/1", "views");
      expectBadInput(await api.get(`${path}?step=week`), "step");
      for (const time of ["yesterday", "2026-02-30", "1999-12-31T00:00:00Z", "2026-11-20T12:00:00", "", "1e3"]) {
        expectBadInput(await api.get(`${path}?from=${time}`), "from");
        expectBadInput(await api.get(`${path}?to=${time}`), "to");
      }
      expectBadInput(await api.get(`${path}?from=2026-01-02&to=2026-01-01`), "to");
      expectBadInput(await api.get(`${path}?from=2026-01-01&to=2026-01-01`), "to");
      expectBadInput(await api.get(`${path}?from=2026-01-01T00:00:00Z&to=2026-02-11T17:00:00Z`), "from");
      expect(await points(`${path}?from=2026-01-01T00:00:00Z&to=2026-02-11T16:00:00Z`)).toHaveLength(1000);
      expectBadInput(await api.get(`${path}?step=day&from=2023-01-01&to=2026-01-01`), "from");
      expectProblem(await api.get(pathOf("article/1", "nothing")), 404, "unknown-metric");
      expectProblem(await api.post(path), 405, "method-not-allowed");
      expect((await api.send("HEAD", path)).status).toBe(200);
    });

    test("of ids of any kind", async () => {
      for (const id of ["😀", "a/b", "__proto__", "e\u0301", "é", "' OR 1=1"]) {
        const subject = `history/${encodeURIComponent(id)}`;
        await api.post(`/v1/subjects/${subject}/views`, { json: { by: 7, at: "2026-10-01T00:30:00Z" } });
        const path = `${pathOf(subject, "views")}?from=2026-10-01&to=2026-10-01T01:00:00Z`;
        await eventually(async () => expect(await points(path)).toEqual([{ at: "2026-10-01T00:00:00Z", count: 7 }]));
      }
    });
  });
}

function counts(points: Point[]): number[] {
  return points.map(({ count }) => count);
}

function zero(ms: number): Point {
  return { at: hourOf(ms), count: 0 };
}

function hourOf(ms: number): string {
  return `${new Date(Math.floor(ms / HOUR_MS) * HOUR_MS).toISOString().slice(0, 19)}Z`;
}
