import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Answer, Connection, NoAnswer } from "./connection.ts";

/** A tally.yaml whose views are distinct, for as long as this process lives. */
export function distinctConfig(): string {
  const path = join(tmpdir(), `tally-distinct-${process.pid}.yaml`);
  writeFileSync(
    path,
    `metrics:
  views: {kind: tally, distinct: true}
  plays: {kind: tally, distinct: true}
  shares: {kind: tally}
  likes: {kind: relation}
`,
  );
  process.on("exit", () => rmSync(path, { force: true }));
  return path;
}

/**
 * Each actor views once, over many connections to all nodes at once. Those who were answered 200 or 202; ends early, without an
 * error, where the server does.
 */
export async function view(
  urls: readonly string[],
  path: string,
  actors: readonly string[],
  { connections = 32, metric = "views" } = {},
): Promise<string[]> {
  const answered: string[] = [];
  let next = 0;
  const run = async (index: number): Promise<void> => {
    const connection = await Connection.open(urls[index % urls.length] as string).catch(() => null);
    try {
      for (let actor = actors[next++]; connection && actor !== undefined; actor = actors[next++]) {
        const answer: Answer = await connection.send("POST", `${path}/${metric}`, { body: { actor } });
        if (answer.status === 200 || answer.status === 202) answered.push(actor);
        else if (answer.status !== 503) throw new Error(`${answer.status}: ${answer.body}`);
      }
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    } finally {
      connection?.close();
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, index) => run(index)));
  return answered;
}

export function actorsNamed(prefix: string, count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${from + i}`);
}
