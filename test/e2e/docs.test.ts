import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestServer } from "../support/server.ts";

const ROOT = join(import.meta.dir, "../..");

interface Example {
  command: string;
  /** What the page says is answered, where it says so. */
  answer: string | null;
}

/** The requests of a page, in its order. */
function examplesOf(page: string): Example[] {
  const lines = readFileSync(join(ROOT, page), "utf8").split("\n");
  return lines.flatMap((line, i) => {
    const command = /^(?:\$ )?(curl .*)$/.exec(line)?.[1];
    if (!command) return [];
    const rest = lines.slice(i + 1);
    const end = rest.findIndex((next) => /^(?:```|\$ |curl )/.test(next));
    return [{ command, answer: rest.slice(0, end).join("") || null }];
  });
}

/** Does what curl would do with the few flags that the pages use. */
async function curl(command: string, url: string): Promise<{ status: number; body: string }> {
  const words = Array.from(command.matchAll(/'([^']*)'|(\S+)/g), (match) => match[1] ?? match[2] ?? "").slice(1);
  const headers = new Headers();
  const init: RequestInit = { headers };
  let target = "";
  let isStream = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    const value = words[i + 1] as string;
    if (word === "-N") {
      isStream = true;
      continue;
    }
    if (word === "-X") init.method = value;
    else if (word === "-d") init.body = value;
    else if (word === "-H") headers.set(value.slice(0, value.indexOf(":")), value.slice(value.indexOf(":") + 1).trim());
    else {
      target = word;
      continue;
    }
    i++;
  }
  expect(target).toStartWith("http://127.0.0.1:8080/");
  const answer = await fetch(target.replace("http://127.0.0.1:8080/", url), init);
  return { status: answer.status, body: isStream ? await firstEvent(answer) : await answer.text() };
}

/** The data of the first event, in one line with the rest of it as the pages have it. */
async function firstEvent(answer: Response): Promise<string> {
  let text = "";
  for await (const bytes of answer.body as ReadableStream<Uint8Array>) {
    text += Buffer.from(bytes).toString();
    const end = text.indexOf("\n\n");
    if (end >= 0) return text.slice(0, end).replaceAll("\n", "");
  }
  return text;
}

const withoutTimes = (text: string) => text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME");

/** The names in an answer. */
function namesIn(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "";
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, namesIn(each)]));
}

let folder: string;
let server: TestServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tally-docs-"));
  server = await TestServer.start({ data: join(folder, "data") });
});
afterAll(async () => {
  await server.kill();
  rmSync(folder, { recursive: true });
});

test("the README's session is answered as it says, to the letter", async () => {
  const examples = examplesOf("README.md");
  expect(examples.length).toBeGreaterThan(3);
  for (const { command, answer } of examples) {
    expect(withoutTimes((await curl(command, server.url)).body)).toBe(withoutTimes(answer ?? ""));
  }
});

describe.each(["docs/api.md", "docs/guide.md"])("%s", (page) => {
  test.each(examplesOf(page).map((example) => [example.command, example] as const))(
    "%s",
    async (command, { answer }) => {
      const { status, body } = await curl(command, server.url);
      if (command.startsWith("curl -N")) {
        const withoutNumbers = (text: string) => text.replaceAll(/:\s*\d+/g, ": N");
        expect(withoutNumbers(body)).toBe(withoutNumbers(answer ?? ""));
        return;
      }
      const expected = answer && JSON.parse(answer);
      expect(status).toBe(typeof expected?.status === "number" ? expected.status : 200);
      if (expected) expect(namesIn(JSON.parse(body))).toEqual(namesIn(expected));
    },
  );
});
