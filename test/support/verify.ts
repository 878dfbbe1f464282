import type { Book, KnownRegister } from "./book.ts";
import { Connection } from "./connection.ts";
import { pathOf, RELATIONS } from "./load.ts";

const CONNECTIONS = 8;

type Get = (path: string) => Promise<unknown>;

/** Asks for everything that the book knows, compares, and takes what it finds for sure from then on. */
export async function verify(url: string, book: Book): Promise<void> {
  const subjects = new Set([...book.views.keys(), ...book.keyed.keys()]);
  for (const { subject } of book.registers.values()) subjects.add(subject);
  await each([...subjects], url, (subject, get) => verifySubject(subject, book, get));
  const actors = new Set([...book.registers.values()].map(({ actor }) => actor));
  await each([...actors], url, (actor, get) => verifyActor(actor, book, get));
}

/** Sends what is still open of the increments with a key; after that they are exact. */
export async function closeKeyed(url: string, book: Book): Promise<void> {
  const connection = await Connection.open(url);
  for (const [client, { subject, key, by }] of book.open) {
    const headers = { "idempotency-key": key };
    const answer = await connection.send("POST", `${pathOf(subject)}/shares`, { headers, body: { by } });
    book.must(answer.status === 200, () => `a repeat was answered ${answer.status}: ${answer.body}`);
    book.tally(book.keyed, subject).acked += by;
    book.open.delete(client);
  }
  connection.close();
}

async function verifySubject(subject: string, book: Book, get: Get): Promise<void> {
  const { counts } = (await get(pathOf(subject))) as { counts: Record<string, number> };
  for (const [metric, of] of [["views", book.views] as const, ["shares", book.keyed] as const]) {
    const known = book.tally(of, subject);
    const count = counts[metric] ?? -1;
    const promise = () => `${metric} of ${subject} is ${count}, not ${known.acked} to ${known.most}`;
    book.must(count >= known.acked && count <= known.most, promise);
    book.must(count >= known.shown, () => `${metric} of ${subject} fell from ${known.shown} to ${count}`);
    if (metric === "views") known.acked = known.most = count;
  }
  for (const metric of RELATIONS) {
    const listed = await list(`${pathOf(subject)}/${metric}`, "actors", get);
    const promise = () => `${metric} of ${subject} is ${counts[metric]}, and ${listed.length} are listed`;
    book.must(counts[metric] === listed.length, promise);
    verifyOrder(listed, `${metric} of ${subject}`, (item) => book.register(metric, subject, String(item.actor)), book);
    const at = new Map(listed.map((item) => [String(item.actor), item.at]));
    for (const register of book.registers.values()) {
      if (register.metric === metric && register.subject === subject) settle(register, at.get(register.actor), book);
    }
    for (const actor of at.keys()) {
      const known = book.registers.has(JSON.stringify([metric, subject, actor]));
      book.must(known, () => `${actor} is among the ${metric} of ${subject} and never was`);
    }
  }
}

/** The state is that of the last answer, or of one of the acts after it that got none. */
function settle(register: KnownRegister, at: string | undefined, book: Book): void {
  const { active, doubts } = register;
  const isActive = at !== undefined;
  const promise = () => `${JSON.stringify(register)} is listed as ${isActive ? at : "not active"}`;
  book.must(active === isActive || doubts.includes(isActive), promise);
  if (doubts.length === 0) book.must(!isActive || register.at === null || at === register.at, promise);
  else register.acted = null;
  register.active = isActive;
  register.doubts = [];
  register.at = at ?? null;
}

/** Newest first: no time rises, none comes twice, and nobody stands above one whose act began after his was answered. */
function verifyOrder(listed: Item[], what: string, registerOf: (item: Item) => KnownRegister, book: Book): void {
  for (let i = 1; i < listed.length; i++) {
    const [newer, older] = [listed[i - 1] as Item, listed[i] as Item];
    book.must(newer.at >= older.at, () => `${what}: ${older.at} stands below ${newer.at}`);
    const [above, below] = [registerOf(newer), registerOf(older)];
    if (above.doubts.length + below.doubts.length > 0 || !above.acted || !below.acted) continue;
    const isSwapped = above.acted.answered < below.acted.sent;
    book.must(!isSwapped, () => `${what}: ${JSON.stringify(newer)} is older than ${JSON.stringify(older)} below it`);
  }
}

async function verifyActor(actor: string, book: Book, get: Get): Promise<void> {
  const { counts } = (await get(`/v1/actors/${encodeURIComponent(actor)}`)) as { counts: Record<string, number> };
  for (const metric of RELATIONS) {
    const listed = await list(`/v1/actors/${encodeURIComponent(actor)}/${metric}`, "subjects", get);
    const registers = [...book.registers.values()].filter((each) => each.metric === metric && each.actor === actor);
    const wanted = registers.filter((each) => each.active).map((each) => `${each.subject} ${each.at}`);
    const found = listed.map((item) => `${item.subject} ${item.at}`);
    const promise = () => `${metric} by ${actor}: ${found.sort()} (${counts[metric]}), not ${wanted.sort()}`;
    book.must(counts[metric] === wanted.length && found.sort().join() === wanted.sort().join(), promise);
    verifyOrder(listed, `${metric} by ${actor}`, (item) => book.register(metric, String(item.subject), actor), book);
    const register = registers[0];
    if (!register) continue;
    const { mine } = (await get(`${pathOf(register.subject)}?actor=${encodeURIComponent(actor)}`)) as {
      mine: string[];
    };
    book.must(mine.includes(metric) === register.active, () => `mine of ${JSON.stringify(register)} is ${mine}`);
  }
}

type Item = { at: string; actor?: string; subject?: string };

/** The whole list, page by page. */
async function list(path: string, items: "actors" | "subjects", get: Get): Promise<Item[]> {
  const all: Item[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const from: string = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const page = (await get(`${path}?limit=37${from}`)) as Record<string, Item[]> & { next: string | null };
    all.push(...(page[items] ?? []));
    cursor = page.next;
  }
  return all;
}

async function each<T>(things: T[], url: string, use: (thing: T, get: Get) => Promise<void>): Promise<void> {
  const workers = Array.from({ length: CONNECTIONS }, async () => {
    const connection = await Connection.open(url);
    const get = async (path: string) => {
      const answer = await connection.send("GET", path);
      if (answer.status !== 200) throw new Error(`${path} answered ${answer.status}: ${answer.body}`);
      return JSON.parse(answer.body);
    };
    for (let thing = things.pop(); thing !== undefined; thing = things.pop()) await use(thing, get);
    connection.close();
  });
  await Promise.all(workers);
}
