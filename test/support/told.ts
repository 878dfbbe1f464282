/** What one node told of a tally. */
interface Telling {
  count: number;
  url: string;
}

interface Named {
  subject: string;
  metric: string | null;
}

/** A flush and the way to the other node, on a machine that does much else. */
const WAIT_MS_MAX = 10_000;
const LOOK_MS = 5;
const TALLIES = ["views", "shares"];

/**
 * The counts of tallies that were told to us, by several nodes of one cluster. A node shows what another has counted after
 * a flush; whoever asks nodes in turn and wants to see his own events waits for that here.
 */
export class Told {
  readonly #tellings = new Map<string, Map<string, Telling>>();

  /** Resolves when the node at `url` shows what others told of what is at `path`; after 10 s anyway, for the test to see. */
  async untilShown(url: string, path: string, headers: Record<string, string>): Promise<void> {
    const named = namedIn(path);
    if (named) await this.#untilShown(url, named, headers);
  }

  /** The same for a subject that no path names. */
  async untilSubjectShown(url: string, subject: string, headers: Record<string, string>): Promise<void> {
    await this.#untilShown(url, { subject, metric: null }, headers);
  }

  async #untilShown(url: string, named: Named, headers: Record<string, string>): Promise<void> {
    for (const [metric, told] of this.#tellings.get(named.subject) ?? []) {
      if (told.url === url || (named.metric !== null && named.metric !== metric)) continue;
      const deadline = performance.now() + WAIT_MS_MAX;
      while (performance.now() < deadline) {
        const count = await countAt(url, named.subject, metric, headers);
        if (count === null || count >= told.count) break;
        await Bun.sleep(LOOK_MS);
      }
    }
  }

  /** What was told of these no longer holds: a set, an erasure or a merge may show a lower count. */
  forget(subjects: string[]): void {
    for (const subject of subjects) this.#tellings.delete(subject);
  }

  /** The subject that a path names. */
  static subjectAt(path: string): string[] {
    const named = namedIn(path);
    return named ? [named.subject] : [];
  }

  /** Resolves when all nodes show of these subjects what the first of them does, or after 10 s, for the test to see. */
  async untilSame(urls: readonly string[], subjects: string[], headers: Record<string, string>): Promise<void> {
    this.forget(subjects);
    const deadline = performance.now() + WAIT_MS_MAX;
    for (const subject of subjects) {
      for (;;) {
        const shown = await Promise.all(
          urls.flatMap((url) => TALLIES.map((metric) => countAt(url, subject, metric, headers))),
        );
        const first = shown.slice(0, TALLIES.length);
        if (shown.every((count, i) => count === first[i % TALLIES.length]) || performance.now() > deadline) break;
        await Bun.sleep(LOOK_MS);
      }
    }
  }

  /** After an event was counted by the node at `url`; `count` is null where it did not tell it. */
  async note(url: string, path: string, headers: Record<string, string>, count: number | null): Promise<void> {
    const named = namedIn(path);
    if (!named?.metric) return;
    const shown = count ?? (await countAt(url, named.subject, named.metric, headers));
    if (shown === null) return;
    const tellings = this.#tellings.get(named.subject) ?? new Map<string, Telling>();
    this.#tellings.set(named.subject, tellings);
    if (shown >= (tellings.get(named.metric)?.count ?? 0)) tellings.set(named.metric, { count: shown, url });
  }
}

/** The subject, and the metric if there is one, as the path names them in whatever spelling. */
function namedIn(path: string): Named | null {
  const parts = /^\/v1\/subjects\/([^/?]+)\/([^/?]+)(?:\/([^/?]+))?(?:\?.*)?$/.exec(path);
  if (!parts) return null;
  try {
    const [type, id, metric] = parts.slice(1).map((part) => part && decodeURIComponent(part));
    return { subject: `${type}/${id}`, metric: metric ?? null };
  } catch {
    return null;
  }
}

/** Null where this caller is not told. */
async function countAt(
  url: string,
  subject: string,
  metric: string,
  headers: Record<string, string>,
): Promise<number | null> {
  const slash = subject.indexOf("/");
  const path = `/v1/subjects/${subject.slice(0, slash)}/${encodeURIComponent(subject.slice(slash + 1))}/${metric}`;
  const authorization = headers.authorization;
  const answer = await fetch(new URL(path, url), authorization === undefined ? {} : { headers: { authorization } });
  const body = (await answer.json()) as { count?: number };
  return answer.ok ? (body.count as number) : null;
}
