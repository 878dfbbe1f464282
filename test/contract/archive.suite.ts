import { describe, expect, test } from "bun:test";
import { manyLines, withSites } from "../support/archive.ts";
import { type Deployment, EMBEDDED } from "../support/contract.ts";
import type { TestServer } from "../support/server.ts";
import { distinctConfig } from "../support/visitors.ts";

const ODD = [
  "Bob",
  "bob",
  "bob ",
  "\u00e9",
  "e\u0301",
  "😀",
  "\uff5e",
  '"q"',
  "\\",
  "\u2028",
  "%2F",
  "a/b",
  "__proto__",
  "x".repeat(128),
];

async function act(server: TestServer, method: string, path: string, json?: unknown): Promise<unknown> {
  const init =
    json === undefined
      ? { method }
      : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(json) };
  const answer = await fetch(new URL(`/v1/subjects/${path}`, server.url), init);
  if (answer.status !== 200) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
  return answer.json();
}

const encoded = encodeURIComponent;

/** Acts of all kinds. */
export async function fill(server: TestServer): Promise<void> {
  for (const [i, id] of ODD.entries()) {
    const subject = `article/${encoded(id)}`;
    await act(server, "POST", `${subject}/views`, { by: i + 1 });
    await act(server, "POST", `${subject}/views`, { by: 5, at: `20${10 + i}-02-03T04:05:06.789Z` });
    await act(server, "POST", `${subject}/shares`, { at: "2020-01-01T00:59:59.999Z" });
    for (const actor of ODD) await act(server, "PUT", `${subject}/likes/${encoded(actor)}`);
    await act(server, "DELETE", `${subject}/likes/${encoded(ODD[i] as string)}`);
    await act(server, "PUT", `${subject}/favorites/${encoded(id)}`, { at: "2019-05-01T08:00:00Z" });
    await act(server, "DELETE", `${subject}/follows/${encoded(id)}`, { at: "2019-05-01T08:00:00Z" });
  }
}

/** Export and import, beside a server that runs. */
export function archive(deployment: Deployment): void {
  describe(`export and import, ${deployment.name}`, () => {
    test("an export, imported into an empty server, comes out the same to the byte; again, it changes nothing", async () => {
      await withSites(deployment, 2, async (a, b) => {
        const [from, to] = await Promise.all([a.serve(), b.serve()]);
        await fill(from);
        const text = await a.export();
        expect(await a.export()).toBe(text);
        const [tallies, relations] = [2 * ODD.length, ODD.length * (ODD.length + 2)];
        expect(text.split("\n").at(-2)).toBe(JSON.stringify({ end: { tallies, relations } }));
        const imported = await b.import(text);
        expect(imported.status, imported.stderr).toBe(0);
        expect(imported.stdout).toBe(`${tallies} tallies and ${relations} relations\n`);
        for (const id of ODD) {
          const path = `/v1/subjects/article/${encoded(id)}`;
          expect(await to.json(`${path}?actor=${encoded(id)}`)).toEqual(
            await from.json(`${path}?actor=${encoded(id)}`),
          );
          expect(await to.json(`${path}/likes?limit=100`)).toEqual(await from.json(`${path}/likes?limit=100`));
          expect(await to.json(`/v1/actors/${encoded(id)}/likes`)).toEqual(
            await from.json(`/v1/actors/${encoded(id)}/likes`),
          );
        }
        expect(await b.export()).toBe(text);
        const again = await b.import(text);
        expect(again.stdout).toContain(`${tallies + relations} of them had been imported before`);
        expect(await b.export()).toBe(text);
        // What was removed stays removed, though an older act comes.
        const late = { at: "2018-01-01T00:00:00Z" };
        expect(await act(to, "PUT", `article/Bob/follows/Bob`, late)).toMatchObject({ active: false, changed: false });
        expect(await b.verify()).toBe("");
      });
    }, 120_000);

    test("while the server counts, and killed again and again, everything is counted once", async () => {
      await withSites(deployment, 1, async (site) => {
        const { text, counts } = manyLines(20_000, 3);
        const server = await site.serve();
        const live = new Map<string, number>();
        let isOver = false;
        const load = async (client: number) => {
          for (let i = 0; !isOver; i++) {
            const subject = `article/i${(client * 37 + i) % 500}`;
            await act(server, "POST", `${subject}/views`);
            live.set(subject, (live.get(subject) ?? 0) + 1);
            await act(server, "PUT", `${subject}/likes/live-${client}`);
          }
        };
        const loads = [0, 1].map(load);
        for (let kills = 0; kills < 4; kills++) {
          const child = site.importing(text);
          await Bun.sleep(200 + 150 * kills);
          child.kill("SIGKILL");
          await child.exited;
        }
        const last = await site.import(text);
        isOver = true;
        await Promise.all(loads);
        expect(last.status, last.stderr).toBe(0);
        expect((await site.import(text)).stdout).toContain("20,000 of them had been imported before");
        for (const [subject, count] of counts) {
          const shown = await server.json<{ counts: { views: number; likes: number } }>(`/v1/subjects/${subject}`);
          const { actors } = await server.json<{ actors: { actor: string }[] }>(
            `/v1/subjects/${subject}/likes?limit=100`,
          );
          const ofLive = actors.filter(({ actor }) => actor.startsWith("live-")).length;
          expect(shown.counts, subject).toMatchObject({
            views: count.views + (live.get(subject) ?? 0),
            likes: count.likes + ofLive,
          });
        }
        expect(await site.verify()).toBe("");
      });
    }, 240_000);

    test("three times at once, one of them killed: everything is counted once", async () => {
      await withSites(deployment, 1, async (site) => {
        const { text, counts } = manyLines(12_000, 11);
        const server = await site.serve();
        const all = Array.from({ length: 3 }, () => site.importing(text));
        await Bun.sleep(400);
        all[0]?.kill("SIGKILL");
        for (const child of all) await child.exited;
        expect(all.slice(1).map(({ exitCode }) => exitCode)).toEqual([0, 0]);
        for (const [subject, expected] of counts)
          expect(await server.json(`/v1/subjects/${subject}`), subject).toMatchObject({ counts: expected });
        expect(await site.verify()).toBe("");
      });
    }, 240_000);

    test("with far more counters than memory holds", async () => {
      await withSites(deployment, 1, async (site) => {
        const server = await site.serve(undefined, "--counters-max", "40");
        const lines = Array.from(
          { length: 3_000 },
          (_, i) => `{"metric":"views","subject":"article/${i}","by":${i + 1}}`,
        );
        const imported = await site.import(lines.join("\n"));
        expect([imported.status, imported.stderr]).toEqual([0, expect.any(String)]);
        for (let i = 0; i < 3_000; i += 333)
          expect(await server.json(`/v1/subjects/article/${i}/views`)).toMatchObject({ count: i + 1 });
        expect(await site.verify()).toBe("");
      });
    }, 120_000);

    test("whose server is killed goes on at the next start where it was", async () => {
      await withSites(deployment, 1, async (site) => {
        const { text, counts } = manyLines(20_000, 5);
        let server = await site.serve();
        for (let kills = 0; kills < 4; kills++) {
          const child = site.importing(text);
          await Bun.sleep(150 + 200 * kills);
          await server.kill();
          // Embedded it ends with its server, or does it all where it finds none; in a cluster it waits for one.
          if (deployment === EMBEDDED) await child.exited;
          server = await site.serve();
          await child.exited;
          expect([0, 69]).toContain(child.exitCode as number);
        }
        expect((await site.import(text)).status).toBe(0);
        for (const [subject, expected] of counts)
          expect(await server.json(`/v1/subjects/${subject}`), subject).toMatchObject({ counts: expected });
        expect(await site.verify()).toBe("");
      });
    }, 240_000);

    test("a line that is not right is named, and nothing is done", async () => {
      await withSites(deployment, 1, async (site) => {
        const server = await site.serve();
        const good = '{"metric":"views","subject":"article/1","by":3}';
        const refuse = async (lines: (string | Uint8Array)[], ...named: string[]) => {
          const text = Buffer.concat(lines.flatMap((line) => [Buffer.from(line), Buffer.from("\n")]));
          const { status, stdout, stderr } = await site.import(text);
          expect([status, stdout], stderr).toEqual([65, ""]);
          for (const name of named) expect(stderr).toContain(name);
        };
        await refuse([good, "{", good], "line 2: is not JSON");
        await refuse([good, '{"metric":"claps","subject":"article/1"}'], 'line 2: /metric: "claps" is not configured');
        await refuse([good, "", '{"metric":"views","subject":"article"}'], "line 3: /subject: must be type/id");
        await refuse(['{"metric":"views","subject":"article/1","by":0}'], "line 1: /by: must be an integer from 1");
        await refuse(['{"metric":"views","subject":"article/1","bi":2}'], "line 1: /bi: is not known");
        await refuse(['{"metric":"likes","subject":"article/1"}'], "line 1: /actor: is missing");
        await refuse(['{"metric":"likes","subject":"article/1","actor":"me"}'], "line 1: /actor: must not be `me`");
        await refuse(
          ['{"metric":"likes","subject":"article/1","actor":"7","at":"1999-01-01T00:00:00Z"}'],
          "line 1: /at: must be from 2000",
        );
        await refuse(
          ['{"metric":"likes","subject":"article/1","actor":"7","at":"soon"}'],
          "line 1: /at: must be a time",
        );
        await refuse(
          ['{"metric":"views","subject":"article/1","count":3,"hours":[["2020-01-01T00:00:00Z",2]]}'],
          "line 1: /count: is 3, but its hours add up to 2",
        );
        await refuse([good, Buffer.from([0x7b, 0xff, 0x7d])], "line 2: is not valid UTF-8");
        const header = '{"tally":1,"metrics":{}}';
        await refuse([header, good], "line 3: the export ends without its last line");
        await refuse([header, good, '{"end":{"tallies":2,"relations":0}}'], "line 3: /end: there are 1 tallies");
        await refuse(['{"tally":2}', good], "line 1: /tally: must be 1");
        expect((await server.json<{ counts: object }>("/v1/subjects/article/1")).counts).toMatchObject({
          views: 0,
          likes: 0,
        });
        const missing = await site.run("import", "no-such-file");
        expect([missing.status, missing.stderr]).toEqual([66, expect.stringContaining("no-such-file cannot be read")]);
      });
    }, 120_000);

    test("a line of a type that is not configured is named: by the server's settings where one is asked", async () => {
      await withSites(deployment, 1, async (site) => {
        const lines = (...subjects: string[]) =>
          subjects.map((subject) => `{"metric":"views","subject":"${subject}"}\n`).join("");
        const refused = {
          status: 65,
          stdout: "",
          stderr: expect.stringMatching(/line 2: \/subject: its type is not configured here; there are: article\n/),
        };
        const server = await site.serve(undefined, "--types", "article");
        // In a cluster no server is asked: the command's own settings say it.
        const own = deployment === EMBEDDED ? [] : ["--types", "article"];
        expect(await site.import(lines("article/1", "other/1"), ...own)).toEqual(refused);
        expect(await server.json("/v1/subjects")).toMatchObject({ subjects: [] });
        expect((await site.import(lines("article/1"), ...own)).status).toBe(0);
        if (deployment !== EMBEDDED) return;
        // As with metrics, what the command itself was told does not matter then.
        expect((await site.import(lines("article/2"), "--types", "other")).status).toBe(0);
        await server.stop();
        expect(await site.import(lines("article/3", "other/3"), "--types", "article")).toEqual(refused);
        expect((await site.import(lines("article/3", "other/3"))).status).toBe(0);
      });
    }, 60_000);

    test("tables come in by a mapping", async () => {
      await withSites(deployment, 1, async (site) => {
        const server = await site.serve();
        const views =
          'post_id,views,"last seen"\r\n1,1200,2020-02-03 10:11:12\r\n2,0,\r\n"3 ""x"", y",17,2021-01-01\r\n';
        const map = "metric=views subject=article/{post_id} count={views} at={last seen}";
        const first = await site.import(views, "--csv", "--map", map);
        expect([first.status, first.stdout], first.stderr).toEqual([0, "3 tallies and 0 relations\n"]);
        expect((await site.import(views, "--csv", "--map", map)).stdout).toContain(
          "2 of them had been imported before",
        );
        const likes = "7;1;1577836800;yes\n8;1;2020-01-01T00:00:00Z;yes\n8;1;1577836801;no\n\n9;1;;yes\n";
        const columns = [
          "--csv",
          "--headless",
          "--delimiter",
          ";",
          "--map",
          "metric=likes subject=article/{2} actor={1} at={3} active={4}",
        ];
        const second = await site.import(likes, ...columns, "--at", "2019-01-01");
        expect([second.status, second.stdout], second.stderr).toEqual([0, "0 tallies and 4 relations\n"]);
        expect(await server.json("/v1/subjects/article/1/likes?limit=5")).toMatchObject({
          count: 2,
          actors: [
            { actor: "7", at: "2020-01-01T00:00:00.000Z" },
            { actor: "9", at: "2019-01-01T00:00:00.000Z" },
          ],
        });
        expect(await server.json("/v1/subjects/article/1/views")).toMatchObject({ count: 1200 });
        expect(await server.json(`/v1/subjects/article/${encoded('3 "x", y')}/views`)).toMatchObject({ count: 17 });
        expect(await site.export()).toContain(
          '"subject":"article/1","count":1200,"hours":[["2020-02-03T10:00:00Z",1200]]}',
        );
        const wrong = await site.import(
          "id,n\n1,x\n2,3\n3,-1\n",
          "--csv",
          "--map",
          "metric=views subject=article/{id} count={n}",
        );
        expect([wrong.status, wrong.stderr]).toEqual([
          65,
          expect.stringMatching(/line 2: count: .*"x"\n {2}line 4: count: .*"-1"/),
        ]);
        const open = await site.import('id,n\n1,"2\n', "--csv", "--map", "metric=views subject=article/{id} count={n}");
        expect([open.status, open.stderr]).toEqual([65, expect.stringContaining("Quote Not Closed")]);
        const column = await site.import(
          "id,n\n1,2\n",
          "--csv",
          "--map",
          "metric=views subject=article/{post} count={n}",
        );
        expect([column.status, column.stderr]).toEqual([
          64,
          expect.stringContaining('the column "post"; there are: "id", "n"'),
        ]);
        expect(await site.verify()).toBe("");
      });
    }, 120_000);

    test("visitors of distinct tallies come along, and those who come again are known", async () => {
      await withSites(deployment, 2, async (a, b) => {
        const config = ["--config", distinctConfig()];
        for (const site of [a, b]) site.flags.push(...config);
        const [from, to] = await Promise.all([a.serve(), b.serve()]);
        const visit = async (url: string, lines: string[]) => {
          const init = { method: "POST", headers: { "content-type": "application/x-ndjson" }, body: lines.join("\n") };
          expect(await (await fetch(`${url}v1/events`, init)).json()).toMatchObject({ accepted: lines.length });
        };
        const line = (subject: string, actor: string) => JSON.stringify({ metric: "plays", subject, actor });
        const many = Array.from({ length: 8_000 }, (_, i) => line("article/many", `v${i}`));
        const few = ["article/😀", "article/a", "article/z"].flatMap((subject) =>
          ["7", "8"].map((it) => line(subject, it)),
        );
        await visit(from.url, [...many, ...few]);
        const text = await a.export();
        expect(text.match(/"visitors"/g)).toHaveLength(4);
        expect((await b.import(text)).status).toBe(0);
        const plays = async (server: typeof to, subject: string) =>
          (await server.json<{ count: number; distinct: { all: number } }>(`/v1/subjects/${subject}/plays`)) as object;
        for (const subject of ["article/many", "article/a", `article/${encodeURIComponent("😀")}`]) {
          const { count, distinct } = (await plays(from, subject)) as { count: number; distinct: { all: number } };
          expect(await plays(to, subject)).toMatchObject({ count, distinct: { all: distinct.all } });
        }
        expect(await b.export()).toBe(text);
        await b.import(text);
        expect(await b.export()).toBe(text);
        await visit(to.url, [line("article/a", "7"), line("article/a", "9")]);
        expect(await plays(to, "article/a")).toMatchObject({ count: 4, distinct: { today: 2, all: 3 } });
        expect(await b.verify()).toBe("");
      });
    }, 120_000);
  });
}
